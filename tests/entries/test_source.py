"""Sources: whatever is handed over becomes its bytes, is closed exactly once, or is refused in plain words."""

from __future__ import annotations

import array
import ctypes
import functools
import gc
import inspect
import io
import mmap
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.loops import descriptors
from tests.support.oracles import members
from zipstream_adapter import (
    Entry,
    EntryTypeError,
    NotAFileError,
    SizeMismatchError,
    SourceChangedError,
    ZipLayout,
    stream_zip,
)
from zipstream_adapter._buffers import LARGEST_PIECE
from zipstream_adapter._entries.source import OpenSource

CHUNKS = [b"one" * 1000, b"", b"two" * 1000, b"three"]
DATA = b"".join(CHUNKS)

Log = list[str]


class Closes:
    """Gives no data, and counts how often it is closed."""

    label = "no data"

    def __init__(self, log: Log, fails: bool = False) -> None:
        self.log, self.fails, self.chunks = log, fails, iter(CHUNKS)

    def close(self) -> None:
        self.log.append(self.label)


class Iteration(Closes):
    label = "iterator"

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = next(self.chunks)
        if self.fails and chunk == CHUNKS[2]:
            raise RuntimeError("the source broke")
        return chunk


class Iterable(Closes):
    label = "iterable"

    def __iter__(self) -> Iterator[bytes]:
        return Iteration(self.log, self.fails)


class File(Iteration):
    """Can be iterated over, too, as file objects can; gives less than it is asked for."""

    label = "file"

    def read(self, size: int) -> bytes:
        return next(filter(None, self), b"")


class Unstartable(Closes):
    label = "unstartable"

    def __iter__(self) -> Iterator[bytes]:
        raise EntryTypeError("the source broke before it began")


def generator(log: Log, fails: bool) -> Iterator[bytes]:
    try:
        yield from Iteration([], fails)
    finally:
        log.append("generator")


Make = Callable[[Log, bool], Any]
CLOSABLE: dict[str, tuple[Make, Log]] = {
    "generator": (generator, ["generator"]),
    "iterator": (Iteration, ["iterator"]),
    # The inner one first: it may need the outer one to let go.
    "iterable with another iterator": (Iterable, ["iterator", "iterable"]),
    "file object": (File, ["file"]),
}
ENDINGS = ["whole", "fails", "abandoned", "dropped", "broken promise"]


def run_to(ending: str, source: Any) -> None:
    entry = Entry("a", source, size=4000 if ending == "broken promise" else None)
    stream = stream_zip([entry, ("b", b"after")], lookahead=0, chunk_size=0)
    if ending in ("abandoned", "dropped"):
        next(stream)
        if ending == "abandoned":
            stream.close()
        del stream
        gc.collect()
    elif ending == "whole":
        assert members(b"".join(stream)) == {"a": DATA, "b": b"after"}
    else:
        with pytest.raises(RuntimeError if ending == "fails" else SizeMismatchError) as caught:
            b"".join(stream)
        told = [str(caught.value), *getattr(caught.value, "__notes__", [])]
        assert "entry 'a'" in " ".join(told)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("called", [False, True], ids=["given", "called"])
@pytest.mark.parametrize("kind", CLOSABLE)
def test_a_source_is_closed_exactly_once_however_it_ends(kind: str, called: bool, ending: str) -> None:
    make, expected = CLOSABLE[kind]
    log: Log = []
    bound = functools.partial(make, log, ending == "fails")
    run_to(ending, bound if called else bound())
    assert log == expected


def test_a_mapped_file_is_closed_too(tmp_path: Path) -> None:
    with open(tmp_path / "a", "w+b") as file:
        file.write(DATA)
        file.flush()
        mapped = mmap.mmap(file.fileno(), 0)
    assert members(b"".join(stream_zip([("a", mapped)]))) == {"a": DATA}
    assert mapped.closed


def test_a_callable_is_called_when_its_turn_comes_and_once() -> None:
    calls: list[str] = []

    def opened(name: str) -> bytes:
        calls.append(name)
        return b"data"

    items = [(name, functools.partial(opened, name)) for name in "ab"]
    stream = stream_zip(items, lookahead=0, chunk_size=0)
    assert calls == []
    next(stream)
    assert calls == ["a"]
    b"".join(stream)
    assert calls == ["a", "b"]


async def awaitable() -> bytes:
    return b"data"


def closed(thing: Any) -> object:
    if inspect.iscoroutine(thing):
        found = inspect.getcoroutinestate(thing) == inspect.CORO_CLOSED
        thing.close()  # or else Python complains that it was never awaited
        return found
    return thing.closed if isinstance(thing, io.IOBase) else thing.log == [thing.label]


@pytest.mark.parametrize(
    ("make", "name", "called"),
    [
        (lambda: io.StringIO("text"), "a", False),
        (lambda: io.BytesIO(b"data"), "directory/", False),
        (lambda: Unstartable([]), "a", False),
        (lambda: Closes([]), "a", True),
        (awaitable, "a", True),
    ],
    ids=["text file", "file for a directory", "unstartable", "no data", "coroutine"],
)
def test_what_is_refused_was_handed_over_and_is_closed_too(make: Callable[[], Any], name: str, called: bool) -> None:
    thing = make()
    with pytest.raises(EntryTypeError):
        OpenSource(Entry(name, (lambda: thing) if called else thing))
    assert closed(thing)


# Bytes in memory


def buffers() -> dict[str, tuple[Any, bytes]]:
    """Objects with a buffer of every shape, and the bytes in it."""
    numbers = array.array("i", range(100))
    grid = memoryview(bytes(range(24))).cast("B", (4, 6))
    big_endian = (ctypes.c_uint32.__ctype_be__ * 3)(1, 2, 0xAABBCCDD)
    return {
        "bytes": (b"data", b"data"),
        "bytearray": (bytearray(b"data"), b"data"),
        "memoryview": (memoryview(b"data"), b"data"),
        "array": (numbers, numbers.tobytes()),
        "every second byte": (memoryview(b"d.a.t.a.")[::2], b"data"),
        "backwards": (memoryview(b"atad")[::-1], b"data"),
        "strided numbers": (memoryview(numbers)[::3], array.array("i", range(0, 100, 3)).tobytes()),
        "two dimensions": (grid, bytes(range(24))),
        "every second row": (grid[::2], bytes([*range(6), *range(12, 18)])),
        "big-endian": (big_endian, bytes.fromhex("00000001 00000002 aabbccdd")),
        "booleans": (memoryview(b"\1\0\1").cast("?"), b"\1\0\1"),
        "no dimension": (ctypes.c_uint16.__ctype_le__(0x0102), b"\2\1"),
        "empty bytes": (b"", b""),
        "empty bytearray": (bytearray(), b""),
        "empty array": (array.array("d"), b""),
        "empty stride": (memoryview(b"")[::2], b""),
        "large": (bytearray(range(256)) * 1000, bytes(range(256)) * 1000),
        "large and strided": (memoryview(bytes(range(256)) * 1000)[::2], bytes(range(0, 256, 2)) * 1000),
    }


@pytest.mark.parametrize("compression", ["stored", "deflate"])
@pytest.mark.parametrize("kind", buffers())
def test_every_buffer_gives_its_bytes_as_a_source_and_as_a_chunk(kind: str, compression: Any) -> None:
    buffer, expected = buffers()[kind]
    sources = {"whole": buffer, "called": lambda: buffer, "chunk": [b"<", buffer, b">"]}
    data = b"".join(stream_zip(sources.items(), compression=compression, lookahead=0))
    assert members(data) == {"whole": expected, "called": expected, "chunk": b"<" + expected + b">"}
    assert OpenSource(Entry("a", buffer)).size == len(expected)


def test_a_file_in_memory_larger_than_a_piece_is_cut() -> None:
    whole = bytes(LARGEST_PIECE)
    assert [chunk is whole for chunk in OpenSource(Entry("a", whole))] == [True]
    pieces = [len(memoryview(chunk)) for chunk in OpenSource(Entry("a", whole + b"!"), read_size=100_000)]
    assert pieces == [100_000] * 10 + [LARGEST_PIECE + 1 - 1_000_000]


@pytest.mark.parametrize("options", [{}, {"lookahead": 0}, {"chunk_size": 0}, {"compression": "deflate"}], ids=str)
def test_a_generator_may_change_and_resize_its_buffer_when_its_turn_comes_again(options: dict[str, Any]) -> None:
    def numbers() -> Iterator[Any]:
        buffer, values = bytearray(), array.array("i")
        for count in range(1, 200, 7):
            # Both raise BufferError while anyone still holds a view.
            buffer.extend(bytes([count]) * 1000)
            values.append(count)
            yield buffer
            yield values
            del buffer[: count * 3]

    expected = b"".join(bytes(chunk) for chunk in numbers())
    assert members(b"".join(stream_zip([("a", numbers())], **options))) == {"a": expected}


@pytest.mark.parametrize("ending", ["whole", "abandoned"])
def test_a_buffer_is_let_go_at_the_end(ending: str) -> None:
    buffer = bytearray(200_000)
    opened = OpenSource(Entry("a", buffer))
    opened.close()
    buffer.append(1)
    stream = stream_zip([("a", buffer)], lookahead=0)
    next(stream)
    if ending == "whole":
        b"".join(stream)
    stream.close()
    buffer.append(1)


# Refusals


async def asynchronous() -> AsyncIterator[bytes]:
    yield b"data"


class Awaits:
    def __await__(self) -> Iterator[Any]:
        return iter(())


class Reads:
    """A file object that gives always the same."""

    def __init__(self, result: object) -> None:
        self.read = lambda size: result


NO_DATA: list[tuple[Any, str]] = [
    ("text", "a str, which could be a path or text: give pathlib.Path(...) for the file, or text.encode()"),
    (lambda: "text", "could be a path or text"),
    (io.StringIO("text"), "open it in binary mode"),
    (Reads("text"), "'text' (str): encode text to bytes first"),
    (Reads(""), "'' (str)"),
    (Reads(7), "7 (int)"),
    ([b"good", "text"], "'text' (str): encode text to bytes first"),
    ([b"good", 7], "7 (int)"),
    ([None], "None (NoneType)"),
    ([[b"nested"]], "[b'nested'] (list)"),
    (7, "7 (int), which is not data: give bytes, a path object"),
    (None, "no source: give b''"),
    (object(), "(object), which is not data"),
    (lambda: None, "its callable returned None"),
    (lambda: 7, "its callable returned 7"),
    (lambda: lambda: b"data", "its callable returned <function"),
    (asynchronous, "(async_generator), which is not data for stream_zip: it is asynchronous"),
    (asynchronous(), "it is asynchronous"),
    (Awaits, "(Awaits), which is not data for stream_zip: it is asynchronous"),
    (Awaits(), "it is asynchronous"),
]


@pytest.mark.parametrize(("source", "said"), NO_DATA, ids=[said for _, said in NO_DATA])
def test_what_is_no_data_is_refused_in_plain_words(source: Any, said: str) -> None:
    with pytest.raises(EntryTypeError) as caught:
        b"".join(stream_zip([("a.txt", source)]))
    assert "entry 'a.txt'" in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("buffering", [0, -1], ids=["raw", "buffered"])
def test_a_file_that_does_not_block_is_refused_when_it_has_nothing_yet(buffering: int) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    file = open(reading, "rb", buffering=buffering)  # noqa: SIM115, handed over
    try:
        with pytest.raises(BlockingIOError, match=r"^entry 'a'.*no data yet"):
            b"".join(stream_zip([("a", file)]))
    finally:
        os.close(writing)
    assert file.closed


@pytest.mark.parametrize(
    "source", [b"data", [b""], io.BytesIO(), 5, lambda: b""], ids=lambda source: type(source).__name__
)
def test_data_for_a_directory_is_refused(source: Any) -> None:
    with pytest.raises(EntryTypeError, match=r"^entry 'd/': .*directory"):
        OpenSource(Entry("d/", source))


# Files


def test_a_path_tells_size_date_and_mode_and_a_file_object_is_read_from_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(range(256)) * 1000)
    path.chmod(0o640)
    os.utime(path, (1e9, 1e9))
    opened = OpenSource(Entry("a", path))
    assert opened.facts is not None
    assert (opened.size, opened.facts.size, opened.facts.mode) == (256_000, 256_000, 0o100640)
    assert opened.facts.modified.timestamp() == 1e9
    opened.close()
    file = path.open("rb")
    file.seek(1000)
    found = members(b"".join(stream_zip([("path", path), ("file", file)])))
    assert found == {"path": path.read_bytes(), "file": path.read_bytes()[1000:]}


@pytest.mark.parametrize(("new_size", "said"), [(4_000_001, "grew"), (1_500_000, "shrank"), (0, "shrank")])
def test_a_file_that_changes_while_it_is_read_ends_the_stream(tmp_path: Path, new_size: int, said: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(4_000_000))
    stream = stream_zip([("a", path)], lookahead=0)
    next(stream)
    os.truncate(path, new_size)
    with pytest.raises(SourceChangedError, match=f"entry 'a': its file {said} while it was read: it had 4000000 bytes"):
        b"".join(stream)


def test_a_missing_file_is_named_and_an_opened_one_may_vanish(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(4_000_000))
    stream = stream_zip([("in/a", path), ("in/b", path)], lookahead=0)
    next(stream)
    if sys.platform != "win32":
        path.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        b"".join(stream)
    assert caught.value.filename == str(path)
    assert caught.value.__notes__ == ["(while adding entry 'in/b')"]
    assert [info.filename for info in stream.infolist()] == ["in/a"]


_UNREADABLE = """
import os
from pathlib import Path
from zipstream_adapter import stream_zip
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    b"".join(stream_zip([("in/a", Path("unreadable"))]))
except PermissionError as exc:
    print(exc.filename, exc.__notes__)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Unix permissions")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    # In a process of its own, since root may read everything. It starts where it stands: the way there may be closed.
    (tmp_path / "unreadable").write_bytes(b"secret")
    (tmp_path / "unreadable").chmod(0)
    tmp_path.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", _UNREADABLE]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=True
    )
    assert done.stdout == "unreadable [\"(while adding entry 'in/a')\"]\n"


SPECIAL = {
    "fifo": "a named pipe",
    "link": "a named pipe",
    "directory": "a directory",
    "/dev/null": "a character device",
}


@pytest.mark.skipif(sys.platform == "win32", reason="Unix files")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", SPECIAL)
def test_what_is_no_file_is_refused_without_waiting_and_let_go(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("fifo")
    (tmp_path / "directory").mkdir()
    before = descriptors()
    with pytest.raises(NotAFileError) as caught:
        OpenSource(Entry("a", tmp_path / name))
    assert f"entry 'a': {str(tmp_path / name)!r} is {SPECIAL[name]}, not a file" in str(caught.value)
    assert ("walk()" in str(caught.value)) == (name == "directory")
    # Nothing that was opened on the way is left open.
    assert descriptors() <= before


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="Unix sockets")
def test_a_socket_is_refused_as_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may only be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        with pytest.raises(NotAFileError, match=r"^entry 'a': 'socket' is a socket, not a file"):
            OpenSource(Entry("a", Path("socket")))


def test_a_directory_entry_takes_date_and_mode_from_a_directory_only(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d").chmod(0o750)
    (tmp_path / "f").write_bytes(b"")
    facts = OpenSource(Entry("d/", tmp_path / "d")).facts
    assert facts is not None
    assert facts.mode == 0o40750
    with pytest.raises(NotAFileError, match=r"^entry 'd/': .*not a directory"):
        OpenSource(Entry("d/", tmp_path / "f"))
    with pytest.raises(FileNotFoundError):
        OpenSource(Entry("d/", tmp_path / "missing"))


class Row(ctypes.Structure):
    """A record with the address of its text."""

    _fields_ = (("O", ctypes.c_int), ("text", ctypes.c_char_p))


ADDRESSES: dict[str, Any] = {
    "texts": ctypes.c_char_p,
    "objects": ctypes.py_object,
    "pointers": ctypes.POINTER(ctypes.c_int),
    "records": Row,
}


@pytest.mark.parametrize("kind", ADDRESSES)
def test_addresses_of_objects_are_no_data(kind: str) -> None:
    """An array of objects has a buffer, too: numpy's arrays of dtype object, for example."""
    made = (ADDRESSES[kind] * 2)()
    assert stream_zip([("a", [made])]).size is None
    for source in [made], iter([made]), lambda: [made]:
        with pytest.raises(EntryTypeError, match=r"^entry 'a': the source gave .* its chunks must be bytes-like"):
            b"".join(stream_zip([("a", source)]))
    with pytest.raises(EntryTypeError, match=r"^entry 'a': the source gave "):
        ZipLayout([("a", [made])])


def test_an_array_of_objects_is_an_iterable_of_them() -> None:
    numpy = pytest.importorskip("numpy")
    column = numpy.array([b"one,", b"two"], dtype=object)
    assert stream_zip([("a", column)]).size is None
    assert members(b"".join(stream_zip([("a", column)]))) == {"a": b"one,two"}
    assert members(b"".join(ZipLayout([Entry("a", column, size=7)]).iter_range())) == {"a": b"one,two"}
    complex_numbers = numpy.array([1j, 2])
    named = numpy.zeros(2, dtype=[("O", "<i4"), ("P", "<f8")])
    assert members(b"".join(stream_zip([("a", complex_numbers), ("b", named)]))) == {
        "a": complex_numbers.tobytes(),
        "b": named.tobytes(),
    }


def test_chunks_of_any_shape_are_joined_for_a_layout() -> None:
    chunks: list[Any] = [memoryview(b"abcdef")[::2], array.array("H", [1, 2])]
    made = b"".join(ZipLayout([("a", chunks)]).iter_range())
    assert members(made) == {"a": b"ace" + bytes(chunks[1])}
