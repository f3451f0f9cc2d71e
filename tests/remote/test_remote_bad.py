"""Archives elsewhere that are none, or broken: each is refused, by where it lies and what is wrong."""

from __future__ import annotations

import asyncio
import io
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.remote_archives import Fetch, archive_of, noise
from zipstream_adapter.errors import BadArchiveError, EncryptedMemberError, EntryError, UnsupportedMethodError
from zipstream_adapter.remote import member_stream, open_remote, open_remote_async, read_members

SMALL = archive_of((100, 200))


def patched(data: bytes, signature: bytes, at: int, layout: str, value: int) -> bytes:
    """`data`, with a field of the last record of that signature changed."""
    out = bytearray(data)
    struct.pack_into(layout, out, data.rindex(signature) + at, value)
    return bytes(out)


def zip64() -> bytes:
    """An archive with a zip64 end record, which says what the end record says."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a", noise(100))
    data = made.getvalue()
    at = data.rindex(b"PK\5\6")
    count, size, offset = struct.unpack_from("<HLL", data, at + 10)
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    return data[:at] + record + locator + data[at:]


def without_end() -> bytes:
    return SMALL[: SMALL.rindex(b"PK\5\6")]


BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "is empty"),
    "no zip": (
        lambda: b"<html>" + b"x" * 200_000,
        "is not a zip archive: it has no end of central directory record, and it begins with b'<htm'",
    ),
    "tiny": (lambda: b"x", "is not a zip archive"),
    "cut": (without_end, "cut short: it begins like a zip archive"),
    "cut in the end record": (lambda: SMALL[:-5], "cut short"),
    "cut in the comment": (
        lambda: archive_of((100,), comment=b"comment")[:-3],
        "cut short: its end of central directory record",
    ),
    "cut at the beginning": (lambda: SMALL[50:], "cut at its beginning"),
    "directory past the end": (lambda: patched(SMALL, b"PK\5\6", 16, "<L", 5000), "should begin at byte 5000"),
    "directory longer than the object": (lambda: patched(SMALL, b"PK\5\6", 12, "<L", 5000), "and have 5000 bytes"),
    "directory elsewhere": (lambda: patched(SMALL, b"PK\5\6", 12, "<L", 97), "there is no central directory at byte"),
    "too few rows": (lambda: patched(patched(SMALL, b"PK\5\6", 10, "<H", 9), b"PK\5\6", 8, "<H", 9), "cannot have 9"),
    "more rows": (lambda: patched(patched(SMALL, b"PK\5\6", 10, "<H", 1), b"PK\5\6", 8, "<H", 1), "says 1 members"),
    "broken row": (lambda: patched(SMALL, b"PK\1\2", 0, "<L", 7), "cannot be read as a zip archive: Bad magic"),
    "parts": (lambda: patched(SMALL, b"PK\5\6", 4, "<H", 1), "split over several disks"),
    "zip64 count": (
        lambda: patched(zip64(), b"PK\6\6", 32, "<Q", 5),
        "members is 1 in its end of central directory record, but 5",
    ),
    "zip64 size": (lambda: patched(zip64(), b"PK\6\6", 40, "<Q", 99), "central directory's size"),
    "zip64 offset": (lambda: patched(zip64(), b"PK\6\6", 48, "<Q", 9), "central directory's offset"),
    "zip64 place": (
        lambda: patched(zip64(), b"PK\6\7", 8, "<Q", 3),
        "locator says that the zip64 end of central directory record is at",
    ),
    "zip64 gone": (lambda: patched(zip64(), b"PK\6\6", 0, "<L", 0), "but there is none before the locator"),
    "zip64 parts": (lambda: patched(zip64(), b"PK\6\7", 16, "<L", 2), "split over several disks"),
    "zip64 wanted": (lambda: patched(SMALL, b"PK\5\6", 16, "<L", 0xFFFFFFFF), "refers to a zip64 record"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_archive_is_refused(kind: str) -> None:
    data = BROKEN[kind][0]()
    fetch = Fetch(data)
    with pytest.raises(BadArchiveError) as caught:
        open_remote(fetch, size=len(data))
    assert BROKEN[kind][1] in str(caught.value)
    assert "'Fetch'" in str(caught.value)
    assert isinstance(caught.value, zipfile.BadZipFile)
    assert len(fetch.asked) <= 2

    async def opened() -> None:
        await open_remote_async(Fetch(data), size=len(data))

    with pytest.raises(BadArchiveError) as again:
        asyncio.run(opened())
    assert BROKEN[kind][1] in str(again.value)


def test_what_says_that_it_has_a_zip64_record_and_is_right_is_read() -> None:
    data = zip64()
    with open_remote(Fetch(data), size=len(data)) as archive:
        assert archive.read("a") == noise(100)


def test_a_directory_that_cannot_be_one_is_not_fetched_as_a_whole() -> None:
    """Whoever says that it has most of a large object would have that be downloaded."""
    data = noise(30 << 20)[: 20 << 20] + patched(SMALL, b"PK\5\6", 12, "<L", 20 << 20)
    fetch = Fetch(patched(data, b"PK\5\6", 16, "<L", 0))
    with pytest.raises(BadArchiveError, match="there is no central directory at byte"):
        open_remote(fetch, size=len(data))
    assert len(fetch.asked) == 2


def member_of(data: bytes) -> Callable[[], Any]:
    def read() -> bytes:
        with open_remote(Fetch(data), size=len(data)) as archive:
            return archive.read(archive.namelist()[0])

    return read


def streamed(data: bytes) -> Callable[[], Any]:
    async def read() -> bytes:
        archive = await open_remote_async(Fetch(data), size=len(data))
        with archive:
            return b"".join([chunk async for chunk in member_stream(archive, archive.namelist()[0])])

    return lambda: asyncio.run(read())


def many(data: bytes) -> Callable[[], Any]:
    def read() -> Any:
        with open_remote(Fetch(data), size=len(data)) as archive:
            return list(read_members(archive, archive.namelist()[:1]))

    return read


def row(field: int, layout: str, value: int, data: bytes = archive_of((100,))) -> bytes:
    return patched(data, b"PK\1\2", field, layout, value)


BAD_MEMBERS: dict[str, tuple[Callable[[], bytes], type[Exception], str]] = {
    "encrypted": (lambda: row(8, "<H", 1), EncryptedMemberError, "'0.bin' is encrypted"),
    "strongly encrypted": (lambda: row(8, "<H", 0x41), UnsupportedMethodError, "uses AES or strong encryption"),
    "AES": (lambda: row(10, "<H", 99), UnsupportedMethodError, "uses AES or strong encryption"),
    "a patch": (lambda: row(8, "<H", 0x20), UnsupportedMethodError, "is a patch"),
    "Deflate64": (lambda: row(10, "<H", 9), UnsupportedMethodError, "method 9 (Deflate64)"),
    "unknown method": (lambda: row(10, "<H", 77), UnsupportedMethodError, "method 77 (unknown)"),
    "no local header": (
        lambda: patched(archive_of((100,)), b"PK\3\4", 0, "<L", 0),
        BadArchiveError,
        "no local file header",
    ),
    "another's header": (lambda: patched(archive_of((100,)), b"PK\3\4", 30, "B", 65), BadArchiveError, "'0.bin'"),
    "past the directory": (lambda: row(42, "<L", 120), BadArchiveError, "said to begin at byte 120"),
    "longer than the archive": (lambda: row(20, "<L", 999), BadArchiveError, "begin at byte 0 and to have 999 bytes"),
    "longer than its room": (
        lambda: row(20, "<L", 105),
        BadArchiveError,
        "its data runs into the next member or the central directory",
    ),
    "a header longer than its room": (
        lambda: patched(archive_of((100,)), b"PK\3\4", 28, "<H", 500),
        BadArchiveError,
        "'0.bin' cannot be read: its ",
    ),
    "broken data": (lambda: archive_of((100,)).replace(noise(100), noise(100, 1)), BadArchiveError, "CRC-32"),
}


@pytest.mark.parametrize("kind", BAD_MEMBERS)
@pytest.mark.parametrize("way", [member_of, streamed, many])
def test_a_member_that_cannot_be_read_is_refused(kind: str, way: Callable[[bytes], Callable[[], Any]]) -> None:
    make, error, said = BAD_MEMBERS[kind]
    with pytest.raises(error) as caught:
        way(make())()
    assert said in str(caught.value)
    assert "'Fetch'" in str(caught.value)


def test_programs_that_catch_what_zipfile_raises_go_on() -> None:
    with pytest.raises(RuntimeError):
        member_of(row(8, "<H", 1))()
    with pytest.raises(NotImplementedError):
        member_of(row(10, "<H", 77))()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_data_that_is_broken_never_ends_as_if_it_were_whole(method: int) -> None:
    data = bytearray(archive_of((40_000,), method))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        info = archive.getinfo("0.bin")
    middle = info.header_offset + 35 + info.compress_size // 2
    data[middle : middle + 4] = b"\xff\x00\xff\x00"
    with pytest.raises(BadArchiveError, match=r"'0.bin' (is broken|cannot be decompressed)"):
        streamed(bytes(data))()


def test_a_member_that_is_not_there() -> None:
    with pytest.raises(KeyError), open_remote(Fetch(SMALL), size=len(SMALL)) as archive:
        archive.read("nothing")

    async def read() -> None:
        async for _ in member_stream(Fetch(SMALL), "nothing", size=len(SMALL)):
            pass

    with pytest.raises(EntryError, match="no member 'nothing'"):
        asyncio.run(read())


def test_an_encrypted_member_is_read_with_its_password() -> None:
    """Made by 7-Zip's and Info-ZIP's old way, by hand: the three keys of APPNOTE 6.1."""
    data = _zipcrypto(b"a secret", b"password")
    with open_remote(Fetch(data), size=len(data)) as archive:
        assert archive.read("s", pwd=b"password") == b"a secret"
        with pytest.raises(EncryptedMemberError, match="Bad password"):
            archive.read("s", pwd=b"wrong")


def _zipcrypto(data: bytes, password: bytes) -> bytes:
    import zlib

    keys = [0x12345678, 0x23456789, 0x34567890]

    def crc(byte: int, value: int) -> int:
        return zlib.crc32(bytes([byte]), value ^ 0xFFFFFFFF) ^ 0xFFFFFFFF

    def update(byte: int) -> None:
        keys[0] = crc(byte, keys[0])
        keys[1] = ((keys[1] + (keys[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = crc(keys[1] >> 24, keys[2])

    for byte in password:
        update(byte)
    out = bytearray()
    for byte in bytes(11) + bytes([zlib.crc32(data) >> 24]) + data:
        temp = keys[2] | 2
        out.append(byte ^ (((temp * (temp ^ 1)) >> 8) & 0xFF))
        update(byte)
    made = bytearray()
    fields = (20, 1, 0, 0, 0x21, zlib.crc32(data), len(out), len(data), 1, 0)
    made += struct.pack("<4s5H3L2H", b"PK\3\4", *fields) + b"s" + out
    directory = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, *fields[:9], 0, 0, 0, 0, 0, 0) + b"s"
    return bytes(made + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(directory), len(made), 0))
