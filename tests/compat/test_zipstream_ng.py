"""compat.zipstream_ng: programs written for zipstream-ng, run as they are, their archives judged by outsiders."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZIP_STORED

import flask
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import oracles, wsgi_servers
from tests.support.loops import module
from tests.support.servers import serve
from tests.support.strategies import comments
from zipstream_adapter.compat.zipstream_ng import ZipStream, ZipStreamInfo, walk
from zipstream_adapter.errors import PoisonedError, StreamStateError, UnsafeNameError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "top"
    (top / "sub" / "deep").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "a.txt").write_bytes(b"hello" * 1000)
    (top / "sub" / "b.bin").write_bytes(bytes(300_000))
    (top / "sub" / "deep" / "none").write_bytes(b"")
    (top / "sub" / "link").symlink_to("../a.txt")
    (top / "sub" / "loop").symlink_to("..")
    return top


def judged(data: bytes, where: Path) -> list[zipfile.ZipInfo]:
    """Its members, once unzip, 7-Zip and bsdtar have accepted it."""
    archive = where / "judged.zip"
    archive.write_bytes(data)
    for verdict in (oracles.unzip(archive), oracles.seven_zip(archive), oracles.bsdtar(archive)):
        assert verdict, verdict.said
    return zipfile.ZipFile(io.BytesIO(data)).infolist()


def together(jobs: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for step in (threading.Thread.start, threading.Thread.join):
        for thread in threads:
            step(thread)


def broken() -> Iterator[bytes]:
    yield b"x" * 100
    raise OSError("it broke")


def test_a_tree_as_its_documentation_shows_it(tree: Path, tmp_path: Path) -> None:
    stream = ZipStream.from_path(f"{tree}/")
    assert stream.sized
    assert bool(stream)
    data = bytes(stream)
    assert len(data) == len(stream)
    names = sorted(info.filename for info in judged(data, tmp_path))
    assert names == ["top/a.txt", "top/empty/", "top/sub/b.bin", "top/sub/deep/none", "top/sub/link"]
    assert oracles.members(data)["top/sub/link"] == b"hello" * 1000


def test_the_whole_interface_in_one_program(tree: Path, tmp_path: Path) -> None:
    stream = ZipStream(compress_type=ZIP_DEFLATED, compress_level=9)
    stream.comment = "important ☆"
    stream.add_path(tree)
    stream.add_path(tree / "a.txt", "data.txt", compress_type=ZIP_BZIP2, compress_level=1)
    stream.add((bytes([each]) * 1024 for each in range(10)), "random.bin")
    stream.add("some text", "README.txt", compress_type=ZIP_STORED)
    stream.add([b"a", b"b"], "deflated", size=2)
    stream.mkdir("made/here")
    stream.add(None, "again/")
    stream.add(b"1", "twice")
    stream.add(b"2", "twice")
    path = tmp_path / "files.zip"
    with open(path, "wb") as file:
        file.writelines(stream)
    data = path.read_bytes()
    infos = {info.filename: info for info in judged(data, tmp_path)}
    assert len(zipfile.ZipFile(path).infolist()) == 13
    assert zipfile.ZipFile(path).comment == "important ☆".encode()
    assert infos["data.txt"].compress_type == ZIP_BZIP2
    assert infos["README.txt"].compress_type == ZIP_STORED
    assert infos["random.bin"].extract_version == zipfile.ZIP64_VERSION
    assert infos["made/here/"].external_attr == 0o40775 << 16 | 0x10
    assert infos["README.txt"].external_attr == 0o600 << 16
    assert infos["top/a.txt"].external_attr == os.stat(tree / "a.txt").st_mode << 16
    assert infos["top/a.txt"].date_time[:5] == time.localtime(os.stat(tree / "a.txt").st_mtime)[:5]
    assert all(info.flag_bits & 8 for info in infos.values() if info.file_size)


def test_last_minute_additions_between_parts() -> None:
    stream = ZipStream()
    assert (stream.is_empty(), stream.last_modified, stream.num_queued()) == (True, None, 0)
    for name in "ab":
        stream.add(name, name)
    data = b"".join(stream.file())
    assert (stream.num_queued(), stream.num_streamed(), bool(stream)) == (1, 1, True)
    data += b"".join(stream.all_files())
    known = stream.info_list()
    assert [row["streamed"] for row in known] == [True, True]
    stream.add(json.dumps(known), "manifest.json")
    assert stream.info_list()[2]["size"] == len(json.dumps(known))
    data += b"".join(stream.finalize())
    assert list(oracles.members(data)) == ["a", "b", "manifest.json"]
    assert list(stream) == list(stream.file()) == list(stream.footer()) == []
    for change in (partial(stream.add, "", "b"), partial(stream.add_path, "."), partial(stream.mkdir, "d")):
        with pytest.raises(RuntimeError, match="already been finalized"):
            change()
    with pytest.raises(RuntimeError, match="already been finalized"):
        stream.comment = "late"


def test_file_returns_whether_there_was_one() -> None:
    stream = ZipStream()
    stream.add("a", "a")
    returned = []

    def run() -> Iterator[bytes]:
        returned.append((yield from stream.file()))
        returned.append((yield from stream.file()))

    list(run())
    assert returned == [True, False]
    stream.add("left", "out")
    list(stream.footer())
    assert (stream.num_queued(), stream.num_streamed()) == (1, 1)


@given(
    st.lists(st.tuples(st.sampled_from(["é", "plain", "d/", "☆/x"]), st.binary(max_size=300)), max_size=6),
    comments(),
)
def test_the_length_is_that_of_the_bytes_whatever_is_added(members: list[tuple[str, bytes]], comment: bytes) -> None:
    stream = ZipStream(sized=True)
    stream.comment = comment
    for name, data in members:
        if name.endswith("/"):
            stream.mkdir(name)
        else:
            stream.add([data, data], name, size=2 * len(data))
    promised = len(stream)
    assert len(bytes(stream)) == promised == len(stream)


@pytest.mark.sweep
@pytest.mark.parametrize("count", [65_534, 65_535, 65_537])
def test_the_length_around_65535_members(count: int) -> None:
    stream = ZipStream(sized=True)
    for number in range(count):
        stream.add(b"x", f"{number % 256}/{number}")
    promised = len(stream)
    data = bytes(stream)
    assert len(data) == promised
    assert len(zipfile.ZipFile(io.BytesIO(data)).infolist()) == count


def test_the_length_past_4_gib_needs_no_data() -> None:
    stream = ZipStream(sized=True)
    stream.add(iter([]), "large", size=5 << 30)
    stream.add(b"x", "behind")
    assert 0 < len(stream) - (5 << 30) < 1000


def test_unsized_streams_have_no_length_and_sized_ones_no_compression() -> None:
    with pytest.raises(TypeError):
        len(ZipStream())
    with pytest.raises(ValueError, match="Cannot use compression"):
        ZipStream(sized=True, compress_type=ZIP_DEFLATED)
    with pytest.raises(ValueError, match="Cannot use compression"):
        ZipStream(sized=True).add("", "a", compress_type=ZIP_DEFLATED)


def test_what_cannot_be_is_refused_as_there(caplog: pytest.LogCaptureFixture) -> None:
    cases: list[tuple[type[Exception], Any]] = [
        (NotImplementedError, lambda: ZipStream(compress_type=95)),
        (ValueError, lambda: ZipStream(compress_type=ZIP_BZIP2, compress_level=0)),
        (ValueError, lambda: ZipStream(compress_level=12).add("", "a", compress_type=ZIP_DEFLATED)),
        (ValueError, lambda: ZipStream().add("x", "")),
        (ValueError, lambda: ZipStream().add("x", "dir/")),
        (ValueError, lambda: ZipStream().add([b""], "dir/")),
        (ValueError, lambda: ZipStream().mkdir("\0dir")),
        (TypeError, lambda: ZipStream().add(1, "one")),
        (FileNotFoundError, lambda: ZipStream.from_path("/not/there")),
        (UnsafeNameError, lambda: ZipStream().add("x", "n" * 65_536)),
        (TypeError, lambda: setattr(ZipStream(), "comment", 10)),
    ]
    for kind, action in cases:
        with pytest.raises(kind):
            action()
    caplog.clear()
    stream = ZipStream(compress_type=ZIP_LZMA, compress_level=1)
    stream.add([b"a", b"b"], "lzma")
    assert oracles.members(bytes(stream)) == {"lzma": b"ab"}
    assert "no effect" in caplog.text
    stream = ZipStream()
    stream.comment = bytes(70_000)
    assert "too long" in caplog.text
    assert len(stream.comment) == 65_535


@pytest.mark.parametrize("sized", [False, True])
@pytest.mark.parametrize("announced", [0, 3, 9])
def test_data_of_another_size(sized: bool, announced: int, caplog: pytest.LogCaptureFixture) -> None:
    stream = ZipStream(sized=sized)
    stream.add([b"12", b"345"], "a", size=announced)
    with caplog.at_level(logging.WARNING):
        if not sized:
            assert oracles.members(bytes(stream)) == {"a": b"12345"}
        else:
            with pytest.raises(RuntimeError, match="Error adding 'a' to sized ZipStream"):
                bytes(stream)
            with pytest.raises(PoisonedError):
                bytes(stream)
    assert f"Size mismatch when adding data for 'a' (expected {announced} bytes" in caplog.text


@pytest.mark.parametrize("how", ["file", "all_files", "finalize"])
def test_nothing_follows_a_source_that_failed(how: str) -> None:
    stream = ZipStream()
    stream.add("good", "good")
    stream.add(broken(), "bad")
    stream.add("more", "more")
    with pytest.raises(OSError, match="it broke") as caught:
        while list(getattr(stream, how)()):
            pass
    assert "bad" in str(caught.value.__notes__)
    for ask in (stream.file, stream.all_files, stream.footer, stream.finalize):
        with pytest.raises(PoisonedError):
            list(ask())


def test_a_consumer_that_leaves_frees_the_source_and_ends_the_archive() -> None:
    closed = []

    def source() -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 70_000
        finally:
            closed.append(True)

    stream = ZipStream()
    stream.add(source(), "endless")
    chunks = iter(stream)
    next(chunks)
    chunks.close()
    assert closed == [True]
    with pytest.raises(PoisonedError):
        bytes(stream)


def test_a_second_generator_amid_a_member_says_so() -> None:
    stream = ZipStream()
    stream.add([b"x" * 70_000] * 3, "a")
    first = stream.file()
    next(first)
    assert [row["streamed"] for row in stream.info_list()] == [False]
    with pytest.raises(StreamStateError, match="another generator"):
        next(stream.file())
    list(first)
    list(stream)
    assert stream.num_streamed() == 1


def test_files_that_change_or_vanish(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"this is some data")
    stream = ZipStream(sized=True)
    stream.add_path(path)
    assert len(stream) == 139
    path.unlink()
    assert len(stream) == 139
    with pytest.raises(FileNotFoundError):
        bytes(stream)


def test_walk_says_what_it_cannot_list(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {os.path.relpath(path, tree) + ("/" if path.endswith("/") else "") for path in walk(tree)}
    assert found == {"a.txt", "empty/", "sub/b.bin", "sub/link", "sub/deep/none"}
    assert not any(path.endswith("/") for path in walk(tree, preserve_empty=False))
    (tree / "sub" / "away").symlink_to(tree / "sub" / "deep")
    assert sum("none" in path for path in walk(tree)) == 1
    assert sum("none" in path for path in walk(tree, followlinks=False)) == 1
    with pytest.raises(FileNotFoundError):
        list(walk(tree / "not there"))
    listing = os.scandir

    def refusing(path: Any) -> Any:
        if str(path).endswith("deep"):
            raise PermissionError(f"no way into {path}")
        return listing(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(PermissionError):
        list(walk(tree))


def test_own_ways_of_walking_and_names_at_the_top(tree: Path) -> None:
    def texts(path: str) -> Iterator[str]:
        return (found for found in walk(path) if found.endswith(".txt"))

    assert list(oracles.members(bytes(ZipStream.from_path(tree, recurse=texts)))) == ["top/a.txt"]
    assert list(oracles.members(bytes(ZipStream.from_path(tree, recurse=texts, arcname="/")))) == ["a.txt"]
    assert list(oracles.members(bytes(ZipStream.from_path(tree, recurse=False)))) == ["top/"]


@pytest.mark.parametrize(
    ("arcname", "plain"), [("x/../y", "y"), ("./q", "q"), ("d//e/", "d/e"), ("..", ".."), ("/w", "w")]
)
def test_names_of_what_comes_from_paths_are_plain(tree: Path, arcname: str, plain: str) -> None:
    stream = ZipStream(sized=True)
    stream.add_path(tree / "a.txt", arcname)
    stream.add_path(tree / "empty", arcname, recurse=False)
    data = bytes(stream)
    assert len(data) == len(stream)
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == [plain, plain + "/"]


def test_a_flask_program_with_a_progress_bar(tree: Path) -> None:
    app = flask.Flask(__name__)

    @app.route("/<name>")
    def download(name: str) -> Any:
        stream = ZipStream.from_path(tree)
        headers: Any = {"Content-Length": len(stream), "Last-Modified": stream.last_modified}
        return flask.Response(stream, mimetype="application/zip", headers=headers)

    response = app.test_client().get("/top")
    assert int(response.headers["Content-Length"]) == len(response.data)
    assert oracles.members(response.data)["top/a.txt"] == b"hello" * 1000


@pytest.mark.parametrize("app", ["ng", "ng-sized"])
@pytest.mark.parametrize("kind", ["waitress", "gevent"])
def test_wsgi_servers_take_it_for_no_list_of_chunks(kind: str, app: str, tmp_path: Path) -> None:
    """They iterate over what has ``__len__`` to count its bytes, before or while they send it."""
    module(kind)  # or skipped
    with (
        serve(wsgi_servers.command(kind, app), tmp_path, {}) as server,
        urllib.request.urlopen(server.url, timeout=60) as answer,
    ):
        data = answer.read()
    assert oracles.members(data) == wsgi_servers.NG_MEMBERS


def test_len_is_asked_of_the_type() -> None:
    class Mine(ZipStream):
        """A program's own."""

    for kind in (ZipStream, Mine):
        sized = kind(sized=True)
        sized.add(b"data", "a")
        assert len(sized) == sized.len == len(bytes(sized))
        assert not hasattr(sized, "__len__")
        unsized = kind()
        assert not hasattr(unsized, "__len__") and not hasattr(unsized, "len")
        with pytest.raises(TypeError, match="unknown"):
            len(unsized)
        assert list(unsized)


def test_two_threads_may_take_members_in_turn() -> None:
    stream = ZipStream()
    for number in range(200):
        stream.add(str(number), str(number))
    taken: list[bytes] = []
    turn = threading.Lock()

    def take() -> None:
        more = True
        while more:
            with turn:
                chunk = b"".join(stream.file())
                taken.append(chunk)
                more = bool(chunk)

    together([take] * 3)
    assert len(oracles.members(b"".join([*taken, *stream.footer()]))) == 200


def test_importing_it_leaves_the_roots_names_alone() -> None:
    code = "import zipstream_adapter.compat.zipstream_ng, zipstream_adapter; assert callable(zipstream_adapter.walk)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)


def test_several_threads_may_add() -> None:
    stream = ZipStream(sized=True)

    def add(thread: int) -> None:
        for number in range(50):
            stream.add(str(number), f"{thread}/{number}")

    together([partial(add, thread) for thread in range(6)])
    data = bytes(stream)
    assert len(data) == len(stream)
    assert len(oracles.members(data)) == 300


def test_small_members_are_joined_and_the_first_bytes_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = ZipStream()
    for number in range(2000):
        stream.add(b"x" * 100, str(number))
    with monkeypatch.context() as patient:
        # A machine that stalls must not pass for a slow source.
        patient.setattr("zipstream_adapter._stream.producer.PATIENCE", 1e9)
        assert len(list(stream)) < 20

    def slow() -> Iterator[bytes]:
        yield b"first"
        time.sleep(0.15)
        yield b"second"
        raise AssertionError("asked for before the first bytes were handed over")

    stream = ZipStream()
    stream.add(slow(), "slow")
    chunks = iter(stream)
    assert b"first" in next(chunks)
    chunks.close()


def test_infos_and_what_is_deprecated() -> None:
    stream = ZipStream(compress_type=ZIP_DEFLATED)
    stream.add(b"test", "a", compress_type=ZIP_BZIP2, compress_level=5)
    list(stream.all_files())
    with pytest.warns(DeprecationWarning, match="info_list"):
        (info,) = stream.get_info()
    assert (info["extract_version"], info["compress_level"], info["CRC"]) == (46, 5, 3632233996)
    odd = ZipStreamInfo("a", (1970, 1, 1, 0, 0, 0))
    assert odd.date_time == (1980, 1, 1, 0, 0, 0)
    odd.CRC = 0
    assert odd.FileHeader(zip64=True)[:4] + odd.DataDescriptor(zip64=True)[:4] == b"PK\3\4PK\7\x08"
    list(stream.footer())
