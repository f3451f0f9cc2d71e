"""Fixtures of the tests of `ChecksumCache`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cached_files import DATA
from zipstream_adapter._entries import crc_cache


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were made a moment ago are remembered as well."""
    monkeypatch.setattr(crc_cache, "_SETTLED_NS", -(10**18))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data.bin"
    path.write_bytes(DATA)
    return path
