"""Archives at the defaults, which do not compress: every reader takes them, by the directory and front to back."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import pytest

from tests.interop.more_readers import BY_DIRECTORY, MORE_READERS, funzip_pipe
from tests.interop.readers import READERS, Found, as_found_by, member
from zipstream_adapter import Entry, ZipLayout, stream_zip, walk

_NOISE = random.Random(14).randbytes(300_000)
_SIGNATURES = [b"PK" + end for end in (b"\1\2", b"\3\4", b"\5\6", b"\6\6", b"\6\7", b"\7\x08")]
# Sizes around the lookahead, and around whole blocks.
_FILES = {
    "archive.bin": _NOISE,
    "empty": b"",
    "exact/65535": _NOISE[:65_535],
    "exact/65536": _NOISE[:65_536],
    "exact/65537": bytes(65_537),
    "exact/131070": _NOISE[:131_070],
    "exact/131071": _NOISE[:131_071],
    "run.sh": b"#!/bin/sh\necho hello\n",
    "with space/text.txt": b"the same words again and again\n" * 40_000,
    "ünï/日本語.txt": "日本語\n".encode(),
    "ünï/groß.bin": _NOISE[:70_000],
}


def chunks(data: bytes, size: int = 9_999) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def inner() -> bytes:
    """A zip archive with members in plain sight: stored, with descriptors, and one that is full of signatures."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(zipfile.ZipInfo("large"), _NOISE)
        for number in range(40):
            archive.writestr(zipfile.ZipInfo(f"{number}.txt"), b"inner " * number)
        archive.writestr(zipfile.ZipInfo("signatures"), b"".join(_SIGNATURES) * 2_000)
    return target.getvalue()


def from_tree(place: Path) -> bytes:
    root = place / "tree"
    for name, data in _FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    (root / "run.sh").chmod(0o755)
    (root / "hollow").mkdir()
    return b"".join(stream_zip(walk(root)))


def from_generators(place: Path) -> bytes:
    entries = [Entry(name, chunks(data)) for name, data in _FILES.items()]
    return b"".join(stream_zip([*entries, Entry.directory("hollow")]))


def nested(place: Path) -> bytes:
    return b"".join(stream_zip([("before", b"b"), Entry("inner.zip", chunks(inner())), ("after", b"a")]))


_TREE = {**_FILES, "hollow/": b""}
_ARCHIVES: dict[str, tuple[Callable[[Path], bytes], dict[str, bytes]]] = {
    "tree": (from_tree, _TREE),
    "generators": (from_generators, _TREE),
    "nested": (nested, {"before": b"b", "inner.zip": inner(), "after": b"a"}),
}


def found_by(reader: str, archive: bytes, place: Path) -> Found:
    """The members that `reader` finds. Some of MORE_READERS do not show directories."""
    place.mkdir()
    if reader in READERS:
        return READERS[reader](archive, place)
    return without_directories(MORE_READERS[reader](archive, place))


def without_directories(members: Found) -> Found:
    return {name: found for name, found in members.items() if not name.endswith("/")}


def expected_from(reader: str, members: dict[str, bytes]) -> Found:
    found = {name: member(data) for name, data in members.items()}
    return as_found_by(reader, found) if reader in READERS else without_directories(found)


@pytest.mark.parametrize("reader", [*READERS, *MORE_READERS])
@pytest.mark.parametrize("kind", _ARCHIVES)
def test_every_reader_takes_what_is_not_compressed(kind: str, reader: str, tmp_path: Path) -> None:
    make, members = _ARCHIVES[kind]
    assert found_by(reader, make(tmp_path), tmp_path / "read") == expected_from(reader, members)


@pytest.mark.parametrize("size", [300, 65_536, 65_537, 300_000])
def test_funzip_takes_a_first_member_of_every_size(size: int, tmp_path: Path) -> None:
    archive = b"".join(stream_zip([Entry("first", chunks(_NOISE[:size])), ("second", b"data")]))
    assert funzip_pipe(archive, tmp_path) == member(_NOISE[:size])


# Many of these refuse a zip64 member if its central directory header has zip64 values that it does not need. BusyBox
# takes sizes from local headers without bit 3, and knows no zip64 there.
@pytest.mark.parametrize("reader", [reader for reader in (*READERS, *BY_DIRECTORY) if reader != "busybox"])
def test_small_zip64_members_are_read_by_the_directory(reader: str, tmp_path: Path) -> None:
    members = {"generated": b"small " * 50, "bytes": b"data", "declared": b"declared", "plain": b"plain"}
    entries = [
        Entry("generated", chunks(members["generated"]), zip64=True),
        Entry("bytes", members["bytes"], zip64=True),
        Entry("declared", chunks(members["declared"]), size=8, crc32=crc32(b"declared"), zip64=True),
        Entry("plain", members["plain"]),
    ]
    archive = b"".join(stream_zip(entries))
    assert found_by(reader, archive, tmp_path / "read") == expected_from(reader, members)


# Archive::Zip takes every descriptor for one of 32 bits if the central directory header has no zip64 values.
@pytest.mark.parametrize("reader", [reader for reader in BY_DIRECTORY if reader != "archive-zip"])
def test_small_zip64_members_with_a_descriptor_are_read_by_the_directory(reader: str, tmp_path: Path) -> None:
    archive = b"".join(stream_zip([Entry("noise", chunks(_NOISE), zip64=True), ("plain", b"plain")]))
    assert found_by(reader, archive, tmp_path / "read") == expected_from(reader, {"noise": _NOISE, "plain": b"plain"})


@pytest.mark.parametrize("step", [1_000, 65_535, 65_536, 1 << 20])
def test_a_nested_archive_of_unknown_size_shows_no_signature(step: int) -> None:
    data = inner()
    archive = b"".join(stream_zip([Entry("inner.zip", chunks(data, step))]))
    found = [archive.count(signature) for signature in _SIGNATURES]
    # Only those of the outer archive: a central directory header, a local header, an end record, a descriptor.
    assert found == [1, 1, 1, 0, 0, 1]
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        assert opened.read("inner.zip") == data
        assert opened.infolist()[0].compress_size < len(data) * 1.3


def test_a_nested_archive_of_known_size_is_in_full_blocks(tmp_path: Path) -> None:
    data = inner()
    (tmp_path / "inner.zip").write_bytes(data)
    for source in (tmp_path / "inner.zip", chunks(data)):
        stream = stream_zip([Entry("inner.zip", source, size=len(data))])
        expected = stream.size
        archive = b"".join(stream)
        assert len(archive) == expected
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            assert opened.infolist()[0].compress_size == len(data) + 5 * -(-len(data) // 65_535)
    layout = ZipLayout([Entry("inner.zip", tmp_path / "inner.zip")])
    assert layout.entries[0].compressed_size == len(data) + 5 * -(-len(data) // 65_535)
