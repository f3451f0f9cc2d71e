"""Read members encrypted by WinZip's AES (AE-1 and AE-2), which `zipfile` cannot read."""

from __future__ import annotations

import hashlib
import hmac
import io
import struct
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import IO, Any, NamedTuple
from zipfile import ZipFile, ZipInfo

from .._compression.decoders import Decoder
from .._compression.encryption import aes_counter_mode, check_installed
from .._entries.files.regular import open_regular
from .._format.extra_fields import extra_fields
from .._format.records import AES_EXTRA_ID
from ..errors import BadArchiveError, EncryptedMemberError

# Bytes of key and salt by strength.
_SIZES = {1: (16, 8), 2: (24, 12), 3: (32, 16)}
_CHECK, _CODE, _ROUNDS = 2, 10, 1000
_STEP = 1 << 18


class _Fields(NamedTuple):
    """The AES extra field: version (1: with a CRC-32), strength, and the method of the data."""

    version: int
    strength: int
    method: int


def copy_encrypted(archive: ZipFile, info: ZipInfo, out: IO[bytes], password: bytes) -> None:
    """Write the data of a member to `out`, and check its authentication code, its size, and its CRC-32 if it has one.

    The code follows the data, so wrong data may have been written before the error.
    """
    check_installed()
    what = f"{archive.filename}: member {info.filename!r}"
    fields = _fields_of(info, what)
    key_size, salt_size = _SIZES[fields.strength]
    size = info.compress_size - salt_size - _CHECK - _CODE
    with closing(_opened(archive, info)) as file:
        _skip_header(file, what)
        salt, check = _read(file, salt_size, what), _read(file, _CHECK, what)
        derived = hashlib.pbkdf2_hmac("sha1", password, salt, _ROUNDS, 2 * key_size + _CHECK)
        if size < 0 or not hmac.compare_digest(derived[2 * key_size :], check):
            raise EncryptedMemberError(f"{what}: the password is wrong")
        cipher, code = aes_counter_mode(derived[:key_size]), hmac.new(derived[key_size : 2 * key_size], None, "sha1")
        facts: Any = SimpleNamespace(compress_type=fields.method, file_size=info.file_size)
        if fields.version == 1:
            facts.CRC = info.CRC
        decoder = Decoder(facts, what)
        for data in _pieces(file, size, what):
            code.update(data)
            decoder.feed(cipher.decrypt(data))
            while plain := decoder.take():
                out.write(plain)
        if not hmac.compare_digest(code.digest()[:_CODE], _read(file, _CODE, what)):
            raise BadArchiveError(f"{what} is broken: its authentication code is wrong")
        decoder.check()


def _fields_of(info: ZipInfo, what: str) -> _Fields:
    for kind, data in extra_fields(info.extra):
        if kind == AES_EXTRA_ID and len(data) == 7:
            version, _, strength, method = struct.unpack("<H2sBH", data)
            if strength in _SIZES:
                return _Fields(version, strength, method)
    raise BadArchiveError(f"{what} is broken: it is encrypted by AES, but has no valid AES extra field")


def _opened(archive: ZipFile, info: ZipInfo) -> Any:
    """Return a file whose position is the member's local file header."""
    remote = getattr(archive, "remote", None)
    if remote is not None:
        return io.BufferedReader(remote.open_member(info))
    file = io.BufferedReader(open_regular(archive.filename))
    file.seek(info.header_offset)
    return file


def _skip_header(file: IO[bytes], what: str) -> None:
    """Skip the local file header (APPNOTE 4.3.7)."""
    header = _read(file, 30, what)
    if header[:4] != b"PK\x03\x04":
        raise BadArchiveError(f"{what} is broken: its local file header is missing")
    name, extra = struct.unpack("<2H", header[26:])
    _read(file, name + extra, what)


def _pieces(file: IO[bytes], size: int, what: str) -> Iterator[bytes]:
    while size:
        data = _read(file, min(size, _STEP), what)
        size -= len(data)
        yield data


def _read(file: IO[bytes], size: int, what: str) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise BadArchiveError(f"{what} is broken: it ends {size - len(data)} bytes early")
    return data
