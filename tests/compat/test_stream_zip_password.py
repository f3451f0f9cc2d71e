"""stream-zip's `password`: archives that others open, with it and not without."""

from __future__ import annotations

import struct
import subprocess
import zlib
from collections.abc import AsyncGenerator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.compat.test_zipstream import infos
from tests.support import oracles
from zipstream_adapter.compat.stream_zip import (
    NO_COMPRESSION_32,
    NO_COMPRESSION_64,
    ZIP_32,
    ZIP_64,
    ZIP_AUTO,
    CRC32IntegrityError,
    async_stream_zip,
    stream_zip,
)

pytest.importorskip("Crypto.Cipher.AES", reason="the extra 'crypto' is not installed")

DATA = b"some text, " * 100
CRC = zlib.crc32(DATA)
METHODS = {
    "32": ZIP_32,
    "64": ZIP_64,
    "auto": ZIP_AUTO(len(DATA)),
    "stored 32": NO_COMPRESSION_32,
    "stored 64": NO_COMPRESSION_64,
    "declared 32": NO_COMPRESSION_32(len(DATA), CRC),
    "declared 64": NO_COMPRESSION_64(len(DATA), CRC),
}


def files() -> list[Any]:
    date = datetime(2021, 1, 1, 21, 1, 12)
    members = [(name, date, 0o100600, method, (DATA,)) for name, method in METHODS.items()]
    return [*members, ("directory/", date, 0o40700, ZIP_32, ())]


async def later() -> AsyncGenerator[Any, None]:
    async def data() -> AsyncGenerator[bytes, None]:
        yield DATA

    for name, date, mode, method, chunks in files():
        is_dir = name.endswith("/")
        yield name, date, mode, method, chunks if is_dir else data()


def opened(path: Path, password: str) -> subprocess.CompletedProcess[bytes]:
    command = [oracles.need("7zz"), "x", "-y", f"-p{password}", f"-o{path.parent / password}", str(path)]
    return subprocess.run(command, capture_output=True, timeout=200)


@pytest.mark.parametrize("on_loop", [False, True])
async def test_7_zip_opens_it_with_the_password_only(on_loop: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    chunks = [chunk async for chunk in async_stream_zip(later(), password="päss")] if on_loop else []
    path.write_bytes(b"".join(chunks or stream_zip(files(), password="päss")))
    assert opened(path, "päss").returncode == 0
    assert {name: (tmp_path / "päss" / name).read_bytes() for name in METHODS} == dict.fromkeys(METHODS, DATA)
    assert opened(path, "wrong").returncode != 0
    encrypted = {name for name, info in infos(path.read_bytes()).items() if info.flag_bits & 1}
    assert encrypted == {*METHODS}


def test_given_random_bytes_are_the_salts_and_no_crc_is_told() -> None:
    asked = []

    def random(size: int) -> bytes:
        asked.append(size)
        return bytes([len(asked)]) * size

    for compressor in ({}, {"get_compressobj": lambda: zlib.compressobj(wbits=-zlib.MAX_WBITS)}):
        asked.clear()
        options: dict[str, Any] = {"password": "p", "get_crypto_random": random, **compressor}
        data = b"".join(stream_zip(files(), **options))
        assert asked == [16] * len(METHODS)
        assert all(bytes([number + 1]) * 16 in data for number in range(len(METHODS)))
        assert struct.pack("<L", CRC) not in data
        asked.clear()
        assert b"".join(stream_zip(files(), **options)) == data
    assert b"".join(stream_zip(files(), password="p")) != b"".join(stream_zip(files(), password="p"))


def test_what_was_declared_is_checked_all_the_same() -> None:
    wrong = ("a", datetime(2021, 1, 1), 0o600, NO_COMPRESSION_64(len(DATA), CRC ^ 1), (DATA,))
    with pytest.raises(CRC32IntegrityError):
        list(stream_zip([wrong], password="p"))
