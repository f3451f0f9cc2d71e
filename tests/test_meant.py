"""What was meant: names of other libraries and of zipfile, modules that were not imported; and how things show."""

from __future__ import annotations

import inspect
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zipstream_adapter
from tests.support.loops import module
from zipstream_adapter import (
    Entry,
    EntryTypeError,
    OptionError,
    StreamingZipFile,
    ZipLayout,
    async_stream_zip,
    save,
    stream_zip,
    walk,
)

CALLS: dict[str, Any] = {"stream_zip": stream_zip, "Entry": Entry, "StreamingZipFile": StreamingZipFile}


@pytest.mark.parametrize(
    ("callee", "arguments", "wrong", "meant"),
    [
        ("stream_zip", ([],), "compress_type", "compression"),
        ("stream_zip", ([],), "compresslevel", "level"),
        ("stream_zip", ([],), "compress_level", "level"),
        ("stream_zip", ([],), "on_eror", "on_error"),
        ("Entry", ("a", b""), "compress_type", "compression"),
        ("Entry", ("a", b""), "compresslevel", "level"),
        ("Entry", ("a", b""), "date_time", "modified"),
        ("Entry", ("a", b""), "arcname", "name"),
        ("Entry", ("a",), "data", "source"),
        ("Entry", ("a", b""), "file_size", "size"),
        ("Entry", ("a", b""), "modfied", "modified"),
        ("StreamingZipFile", (), "level", "compresslevel"),
    ],
)
def test_an_unknown_argument_suggests_the_one_that_was_meant(
    callee: str, arguments: tuple[Any, ...], wrong: str, meant: str
) -> None:
    with pytest.raises(TypeError) as raised:
        CALLS[callee](*arguments, **{wrong: 1})
    said = f"{callee}() got an unexpected keyword argument {wrong!r}. Did you mean {meant!r}?"
    assert str(raised.value) == said


@pytest.mark.parametrize(
    "call",
    [
        lambda: async_stream_zip([], compress_type=8),  # type: ignore[call-arg]
        lambda: ZipLayout([], compress_type=8),  # type: ignore[call-arg]
        lambda: save("missing/a.zip", [], compress_type=8),  # type: ignore[call-arg]
        lambda: walk(".", compress_type=8),  # type: ignore[call-arg]
        lambda: Entry.from_path("a", compress_type=8),  # type: ignore[call-arg]
    ],
)
def test_other_calls_suggest_it_too(call: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match=r"'compress_type'\. Did you mean 'compression'\?$"):
        call()


def test_signatures_show_the_known_arguments_alone() -> None:
    for call in stream_zip, Entry, StreamingZipFile, Entry.raw:
        kinds = {each.kind for each in inspect.signature(call).parameters.values()}
        assert (inspect.Parameter.VAR_KEYWORD in kinds) == (call is Entry.raw)
    assert "unknown" not in inspect.signature(Entry).parameters and "name" in inspect.signature(Entry).parameters


def test_an_argument_like_no_other_suggests_nothing() -> None:
    with pytest.raises(TypeError, match=r"argument 'zzz'$"):
        stream_zip([], zzz=1)  # type: ignore[call-arg]


def test_keys_of_mappings_suggest_what_was_meant() -> None:
    with pytest.raises(EntryTypeError, match=r"unknown key 'arcname'.*Did you mean 'name'\?"):
        b"".join(stream_zip([{"arcname": "a", "source": b""}]))


@pytest.mark.parametrize("compression", ["none", "stored", None, 0])
def test_a_level_needs_a_compression_that_has_levels(compression: Any) -> None:
    for make in (stream_zip, async_stream_zip, ZipLayout):
        with pytest.raises(OptionError, match=r"^level=5: compression='(none|stored)' has no levels: give another"):
            make([], compression=compression, level=5)
    if compression is not None:
        with pytest.raises(OptionError, match=r"^entry 'a': level=5: compression='\w+' has no levels: leave the level"):
            Entry("a", b"", compression=compression, level=5)


def test_a_level_out_of_range_names_the_range_of_its_method() -> None:
    for compression, levels in {"deflate": "0 to 9", "bzip2": "1 to 9", "lzma": "0 to 9", "auto": "1 to 9"}.items():
        with pytest.raises(OptionError, match=rf"^level=99 is out of range for {compression}: use {levels}, or None"):
            stream_zip([], compression=compression, level=99)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"use 0 to 9 \(bzip2: 1 to 9; zstd: -131072 to 22\), or None"):
        Entry("a", b"", level=99)


def test_a_text_file_is_refused_for_its_buffer() -> None:
    for file in sys.__stdout__, io.StringIO():
        with pytest.raises(OptionError, match=r"this file takes text: give its \.buffer, or open it with mode 'wb'"):
            StreamingZipFile(file)  # type: ignore[arg-type]


def test_packages_are_imported_when_they_are_named() -> None:
    module("werkzeug")
    code = (
        "import sys, zipstream_adapter as z; assert 'zipstream_adapter.web' not in sys.modules\n"
        "print(z.web.asgi_app.__name__, z.remote.open_remote.__name__, z.errors.OptionError.__name__)\n"
        "print(z.compat.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=200)
    assert done.stdout.split() == ["asgi_app", "open_remote", "OptionError", "zipstream_adapter.compat"]


def test_names_that_are_elsewhere_say_where() -> None:
    for name, words in {"ZipFile": "StreamingZipFile writes", "asgi_app": "zipstream_adapter.web"}.items():
        with pytest.raises(AttributeError, match=words):
            getattr(zipstream_adapter, name)
    assert not hasattr(zipstream_adapter, "anything")


def test_streams_show_what_they_are_of_and_how_far_they_are(tmp_path: Path) -> None:
    stream = stream_zip([("a", b"x" * 100_000), {"name": "b", "source": b"", "password": False}])
    assert repr(stream) == "<ZipStream of 2 entries: not begun>"
    first = next(stream)
    assert repr(stream) == f"<ZipStream of 2 entries: {len(first):,} bytes so far>"
    rest = b"".join(stream)
    assert repr(stream) == f"<ZipStream of 2 entries: complete, {len(first + rest):,} bytes>"
    closed = stream_zip(walk(tmp_path))
    closed.close()
    assert repr(closed) == f"<ZipStream of <walk of {str(tmp_path)!r}>: closed after 0 bytes>"
    failed = stream_zip(iter([("a", 1)]))  # type: ignore[arg-type]
    with pytest.raises(EntryTypeError):
        next(failed)
    assert repr(failed) == "<ZipStream of a list_iterator: failed after 0 bytes>"
    assert repr(async_stream_zip([("a", b"")])) == "<AsyncZipStream of 1 entry: not begun>"
    assert repr(ZipLayout([("a", b"")])) == "<ZipLayout of 1 member, 118 bytes>"


@pytest.mark.parametrize("call", [stream_zip, async_stream_zip, ZipLayout])
@pytest.mark.parametrize("second", [b"data", bytearray(b"data"), [b"data"], None, lambda: b""])
def test_a_pair_in_place_of_a_list_is_named(call: Callable[[Any], Any], second: Any) -> None:
    with pytest.raises(
        EntryTypeError, match=r"entries=\('a', .* is one pair, not an iterable of entries: put it in a list"
    ):
        call(("a", second))
