"""save: a file has its name only once it is whole, in both facades; and nothing is left of what failed."""

from __future__ import annotations

import asyncio
import errno
import io
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.oracles import members
from zipstream_adapter import (
    EntryTypeError,
    NotAFileError,
    StreamStateError,
    async_save,
    async_stream_zip,
    save,
    stream_zip,
    walk,
)
from zipstream_adapter._writer import whole_file

BIG = bytes(range(256)) * 20_000


def saved(path: Any, entries: Any, **options: Any) -> int:
    return asyncio.run(async_save(path, entries, **options))


def by_stream(path: Any, entries: Any, **options: Any) -> int:
    return stream_zip(entries, **options).save(path)


def by_async_stream(path: Any, entries: Any, **options: Any) -> int:
    async def main() -> int:
        return await async_stream_zip(entries, **options).save(path)

    return asyncio.run(main())


BOTH = pytest.mark.parametrize("write", [save, saved, by_stream, by_async_stream])
Write = Callable[..., int]


def left(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


@BOTH
@pytest.mark.parametrize("kind", [str, Path])
def test_an_archive_is_saved(tmp_path: Path, write: Write, kind: Callable[[Path], Any]) -> None:
    size = write(kind(tmp_path / "a.zip"), [("a", b"data"), ("b", BIG)], compression="deflate")
    data = (tmp_path / "a.zip").read_bytes()
    assert (size, left(tmp_path)) == (len(data), ["a.zip"])
    assert members(data) == {"a": b"data", "b": BIG}
    assert stat.S_IMODE((tmp_path / "a.zip").stat().st_mode) == 0o666 & ~whole_file.umask()


@BOTH
def test_a_failure_leaves_nothing_new_and_the_old(tmp_path: Path, write: Write) -> None:
    def data() -> Iterator[bytes]:
        yield BIG
        assert [name for name in left(tmp_path) if name.startswith(".a.zip.")]
        raise LookupError("the source failed")

    for before in None, b"older":
        if before:
            (tmp_path / "a.zip").write_bytes(before)
        with pytest.raises(LookupError, match="the source failed"):
            write(tmp_path / "a.zip", [("a", data())])
        assert left(tmp_path) == (["a.zip"] if before else [])
    assert (tmp_path / "a.zip").read_bytes() == b"older"


@BOTH
def test_what_is_replaced_keeps_its_mode_and_a_link_stays(tmp_path: Path, write: Write) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a.zip").write_bytes(b"older")
    (tmp_path / "real/a.zip").chmod(0o640)
    (tmp_path / "link.zip").symlink_to("real/a.zip")
    write(tmp_path / "link.zip", [("a", b"data")])
    assert (tmp_path / "link.zip").is_symlink()
    assert members((tmp_path / "real/a.zip").read_bytes()) == {"a": b"data"}
    assert stat.S_IMODE((tmp_path / "real/a.zip").stat().st_mode) == 0o640
    assert left(tmp_path / "real") == ["a.zip"]


@BOTH
def test_neither_the_archive_nor_the_one_before_it_is_a_member(tmp_path: Path, write: Write) -> None:
    (tmp_path / "a.txt").write_bytes(b"data")
    for _ in range(3):
        write(tmp_path / "z.zip", walk(tmp_path))
        assert members((tmp_path / "z.zip").read_bytes()) == {"a.txt": b"data"}


@BOTH
def test_what_cannot_be_written_is_named_as_it_was_given(tmp_path: Path, write: Write, monkeypatch: Any) -> None:
    with pytest.raises(IsADirectoryError, match="is a directory: give the name of the archive"):
        write(tmp_path, [])
    with pytest.raises(NotAFileError, match="'/dev/null' is a character device, not a file: write the stream's chunks"):
        write("/dev/null", [])
    with pytest.raises(FileNotFoundError) as missing:
        write(tmp_path / "missing/a.zip", [])
    assert missing.value.filename == str(tmp_path / "missing/a.zip")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name, broken in ("replace", full), ("fsync", full):
        with monkeypatch.context() as patched:
            patched.setattr(os, name, broken)
            with pytest.raises(OSError, match=r"No space left on device: '.*a\.zip'") as raised:
                write(tmp_path / "a.zip", [("a", b"")])
        assert raised.value.filename == str(tmp_path / "a.zip")
        assert left(tmp_path) == []


@BOTH
def test_the_text_of_an_error_has_the_path_alone(tmp_path: Path, write: Write) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for name in "missing/a.zip", "loop", "n" * 300:
        with pytest.raises(OSError) as caught:
            write(tmp_path / name, [])
        assert str(caught.value).endswith(f": {str(tmp_path / name)!r}")


@BOTH
@pytest.mark.parametrize("path", [None, 3, b"a.zip"])
def test_a_path_is_a_str_or_a_path_object(write: Write, path: Any) -> None:
    with pytest.raises(EntryTypeError, match=rf"path {path!r}: give a str or a path object"):
        write(path, [("a", b"")])


@BOTH
def test_options_are_those_of_a_stream(tmp_path: Path, write: Write) -> None:
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'compresion'\. Did you mean 'compression'"):
        write(tmp_path / "a.zip", [], compresion="deflate")
    assert left(tmp_path) == []


def test_a_stream_that_was_begun_is_not_saved(tmp_path: Path) -> None:
    stream = stream_zip([("a", BIG)])
    next(stream)
    with pytest.raises(StreamStateError, match="begun before"):
        stream.save(tmp_path / "a.zip")
    done = stream_zip([("a", b"")])
    assert done.save(tmp_path / "a.zip") == done.tell()
    with pytest.raises(StreamStateError):
        done.save(tmp_path / "b.zip")
    assert left(tmp_path) == ["a.zip"]


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 20, 50])
def test_a_cancellation_leaves_nothing_or_the_whole(tmp_path: Path, steps: int) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(async_save(tmp_path / "a.zip", [("a", BIG), ("b", BIG)]))
        for _ in range(steps):
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    assert left(tmp_path) in ([], ["a.zip"])
    if left(tmp_path):
        assert members((tmp_path / "a.zip").read_bytes()) == {"a": BIG, "b": BIG}


@pytest.mark.parametrize("write", [save, by_stream])
def test_an_interrupt_while_the_file_is_created_leaves_nothing(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = []

    def interrupted(path: Path, *args: Any, **options: Any) -> None:
        io.FileIO(path, *args, **options).close()
        created.append(path.exists())
        raise KeyboardInterrupt

    monkeypatch.setattr(whole_file, "io", SimpleNamespace(FileIO=interrupted))
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.zip", [("a", b"data")])
    assert (created, left(tmp_path)) == ([True], [])


def test_a_file_that_happens_to_have_the_temporary_name_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda size: "same")
    (tmp_path / ".a.zip.same.part").write_bytes(b"another")
    with pytest.raises(FileExistsError):
        save(tmp_path / "a.zip", [("a", b"data")])
    assert (tmp_path / ".a.zip.same.part").read_bytes() == b"another"


@pytest.mark.parametrize("is_there", [False, True])
def test_a_path_that_ends_in_a_slash_is_a_directory(tmp_path: Path, is_there: bool) -> None:
    if is_there:
        (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(IsADirectoryError, match="is a directory: give the name of the archive file"):
        save(f"{tmp_path}/a/", [("name", b"data")])
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"] * is_there
