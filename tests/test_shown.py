"""Objects that are half made: they can be shown, and dropped, without a word."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from zipstream_adapter import ChecksumCache, Entry, StreamingZipFile, ZipLayout, ZipStream
from zipstream_adapter._checks import shown_half_made

PROGRAM = Path(__file__).parent / "support" / "half_made.py"


def test_every_class_shows_and_drops_what_was_never_initialised() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", str(PROGRAM)],
        cwd=PROGRAM.parent.parent,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *failures, count = done.stdout.splitlines()
    assert failures == []
    assert int(count.split()[0]) > 100


@pytest.mark.parametrize("kind", [ChecksumCache, Entry, ZipLayout], ids=lambda kind: kind.__name__)
def test_what_is_not_initialised_says_so(kind: Any) -> None:
    assert repr(kind.__new__(kind)) == f"<{kind.__name__}, which was not initialised>"


@pytest.mark.parametrize(
    "make",
    [
        lambda: ZipLayout([("a", iter([b""]))]),
        lambda: ZipStream([], level=99),
        lambda: Entry("a", b"", size=-1),
        lambda: StreamingZipFile(None, lookahead=-1),
        lambda: ChecksumCache(Path(__file__)),
    ],
    ids=["ZipLayout", "ZipStream", "Entry", "StreamingZipFile", "ChecksumCache"],
)
def test_what_has_failed_half_way_can_be_shown(make: Any) -> None:
    """As whoever looks at the variables of the traceback does."""
    with pytest.raises(Exception) as caught:
        make()
    trace = caught.value.__traceback__
    shown = []
    while trace is not None:
        if "self" in trace.tb_frame.f_locals:
            shown.append(repr(trace.tb_frame.f_locals["self"]))
        trace = trace.tb_next
    assert shown


def test_any_other_failure_of_a_repr_is_its_own() -> None:
    @shown_half_made
    class Broken:
        def __repr__(self) -> str:
            raise LookupError

    with pytest.raises(LookupError):
        repr(Broken())
