"""The checksum: the same number from every library, the fastest that is there, and none before data flows."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zipstream_adapter._compression.crc32 import _FAST, fastest_crc32

HERE = [name for name in ("zlib", *_FAST) if importlib.util.find_spec(name.partition(".")[0])]


@pytest.mark.parametrize("library", HERE)
@given(st.lists(st.binary(max_size=3000)), st.integers(0, 0xFFFFFFFF))
def test_every_library_gives_the_standard_ones_number(library: str, pieces: list[bytes], start: int) -> None:
    crc32 = importlib.import_module(library).crc32
    found = expected = start
    for piece in pieces:
        found, expected = crc32(memoryview(piece), found), zlib.crc32(piece, expected)
        assert found == expected


def test_the_fastest_that_is_installed_is_taken() -> None:
    best = HERE[1] if len(HERE) > 1 else "zlib"
    assert fastest_crc32() is importlib.import_module(best).crc32


STREAM = """
import sys
import zipstream_adapter
fast = {"zlib_ng", "isal"} & set(sys.modules)
assert not fast, f"imported with the package: {fast}"
sys.stdout.buffer.write(b"".join(zipstream_adapter.stream_zip([zipstream_adapter.Entry("a", b"1" * 99, modified=1e9)])))
"""
BLOCKED = """
import sys
sys.modules.update(dict.fromkeys(["zlib_ng", "isal", "zlib_ng.zlib_ng", "isal.isal_zlib"]))
"""


def test_without_the_extra_the_archive_is_the_same() -> None:
    with_it, without = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=200).stdout
        for code in (STREAM, BLOCKED + STREAM.replace("assert not fast", "assert True"))
    )
    assert with_it == without
    assert zlib.crc32(b"1" * 99).to_bytes(4, "little") in without
