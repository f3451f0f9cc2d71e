"""While the interpreter ends, remote archives start no threads: on Python 3.11 that may never return."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

import pytest

from zipstream_adapter.errors import StreamClosedError
from zipstream_adapter.remote import background


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The interpreter seems to end; lists the threads that are started."""
    threads: list[threading.Thread] = []
    monkeypatch.setattr(threading.Thread, "start", threads.append)
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    return threads


def test_the_loop_is_not_started(started: list[Any]) -> None:
    loop = background.BackgroundLoop()
    release = loop.hold()
    with pytest.raises(StreamClosedError, match="the interpreter is ending"):
        loop.start(lambda: asyncio.sleep(0))
    release()
    assert started == []


def test_a_call_with_a_deadline_runs_where_it_is_made(started: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "time_left", lambda: 60.0)
    assert background.run_in_time(threading.get_ident, "here") == threading.get_ident()
    assert started == []
