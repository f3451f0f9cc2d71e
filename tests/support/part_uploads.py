"""An upload by parts that the test ends on purpose."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

import pytest

from zipstream_adapter import ZipLayout
from zipstream_adapter.remote import PartsProgress, upload_parts


class StopError(Exception):
    """Raised by a test."""


def interrupted(store: Any, path: str, layout: ZipLayout, pool: Executor, part_size: int, stop: int) -> Any:
    """Upload `layout`, and stop once `stop` parts are done. Returns the token to go on from."""
    seen: list[PartsProgress] = []

    def interrupt(state: PartsProgress) -> None:
        seen.append(state)
        if state.parts == stop:
            raise StopError

    with pytest.raises(StopError) as caught:
        upload_parts(store, path, layout, pool, part_size=part_size, on_progress=interrupt, keep=True)
    token = caught.value.token  # type: ignore[attr-defined]
    assert token == seen[-1].token
    return token
