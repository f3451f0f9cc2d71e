"""Programs written for zipstream and zipstream-new: what they call, what they get, and what is better than it was."""

from __future__ import annotations

import io
import os
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import oracles
from tests.support.faults import BoomError
from tests.support.loops import module
from zipstream_adapter import EntryTypeError, PoisonedError, UnsafeNameError
from zipstream_adapter.compat import zipstream


def judged(data: bytes, place: Path) -> dict[str, bytes]:
    """The members, of an archive that unzip and bsdtar accept."""
    archive = place / "judged.zip"
    archive.write_bytes(data)
    for verdict in (oracles.unzip(archive), oracles.bsdtar(archive), oracles.bsdtar_pipe(data)):
        assert verdict, verdict.said
    return oracles.members(data)


def infos(data: bytes) -> dict[str, zipfile.ZipInfo]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {info.filename: info for info in archive.infolist()}


def failing(*chunks: bytes) -> Iterator[bytes]:
    yield from chunks
    raise BoomError("the source failed")


def endless(ended: list[int]) -> Iterator[bytes]:
    try:
        while True:
            yield b"x" * 100_000
    finally:
        ended.append(1)


# As documented


def test_members_are_opened_and_made_between_iterations(tmp_path: Path) -> None:
    z = zipstream.ZipFile()
    z.writestr("first", b"1")
    chunks = list(z.flush())
    with z.open("opened", "w") as member:
        member.write(b"2")
    z.mkdir("made")
    chunks += list(z.flush())
    assert list(z.NameToInfo) == z.namelist() == ["first", "opened", "made/"]
    assert judged(b"".join([*chunks, *z]), tmp_path) == {"first": b"1", "opened": b"2", "made/": b""}


def test_files_strings_and_iterables_become_an_archive(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"on disk\n" * 100)
    z = zipstream.ZipFile(mode="w", compression=zipstream.ZIP_DEFLATED)
    z.write(str(tmp_path / "a.txt"), "docs/a.txt")
    z.write(tmp_path / "a.txt")
    z.write_iter("gen", (b"%d\n" % number for number in range(1000)))
    z.write_iter("lines", io.BytesIO(b"1\n2\n"), compress_type=zipstream.ZIP_STORED)
    z.writestr("s", b"a string", zipstream.ZIP_DEFLATED)
    z.write(tmp_path, "dir")
    assert judged(b"".join(z), tmp_path) == {
        "docs/a.txt": b"on disk\n" * 100,
        str(tmp_path / "a.txt").lstrip("/"): b"on disk\n" * 100,
        "gen": b"".join(b"%d\n" % number for number in range(1000)),
        "lines": b"1\n2\n",
        "s": b"a string",
        "dir/": b"",
    }
    assert [info.compress_type for info in z.infolist()] == [8, 8, 8, 0, 8, 0]
    assert z.infolist()[-1].flag_bits == 0


def test_flush_gives_what_is_queued_and_leaves_the_archive_open(tmp_path: Path) -> None:
    z = zipstream.ZipFile()
    z.writestr("a", b"A")
    first = b"".join(z.flush())
    assert first.endswith(b"A" + first[-16:]) and first[-16:-12] == b"PK\7\x08"
    assert list(z.flush()) == []
    z.writestr("b", b"B")
    second = b"".join(z.flush())
    z.writestr("c", b"C")
    assert judged(first + second + b"".join(z), tmp_path) == {"a": b"A", "b": b"B", "c": b"C"}


def test_members_can_be_added_while_it_is_iterated_over(tmp_path: Path) -> None:
    z = zipstream.ZipFile()
    z.writestr("0", b"0")
    parts, count = [], 0
    for chunk in z:
        parts.append(chunk)
        if count < 5:
            count += 1
            z.writestr(str(count), b"%d" % count)
    assert judged(b"".join(parts), tmp_path) == {str(number): b"%d" % number for number in range(6)}


def test_nothing_is_read_before_iteration(tmp_path: Path) -> None:
    begun = []

    def source() -> Iterator[bytes]:
        begun.append(1)
        yield b"data"

    z = zipstream.ZipFile()
    z.write_iter("a", source())
    z.write(tmp_path / "later")
    chunks = iter(z)
    assert not begun
    (tmp_path / "later").write_bytes(b"made later")
    assert set(judged(b"".join(chunks), tmp_path).values()) == {b"data", b"made later"}


def test_an_empty_archive_and_its_comment(tmp_path: Path) -> None:
    z = zipstream.ZipFile()
    z.comment = b"made here"
    assert z.comment == b"made here"
    with pytest.raises(TypeError):
        z.comment = "text"  # type: ignore[assignment]
    with zipfile.ZipFile(io.BytesIO(b"".join(z))) as archive:
        assert archive.comment == b"made here" and archive.namelist() == []


def test_iterated_over_again_it_yields_nothing() -> None:
    z = zipstream.ZipFile()
    z.writestr("a", b"A")
    assert b"".join(z)
    assert list(z) == list(z.flush()) == []
    with pytest.raises(RuntimeError, match="already closed"):
        z.writestr("b", b"B")


def test_it_is_a_zipfile_and_a_context_manager() -> None:
    with zipstream.ZipFile(mode="w") as z:
        assert isinstance(z, zipfile.ZipFile)
        z.writestr("a", b"A")
        assert oracles.members(b"".join(z)) == {"a": b"A"}
    with zipstream.ZipFile() as z:
        z.writestr("a", b"A")
    with pytest.raises(RuntimeError, match="closed before its end"):
        list(z)


@pytest.mark.parametrize("mode", ["r", "a", "x", "wb", "w+", "rb"])
def test_any_other_mode_raises(mode: str) -> None:
    with pytest.raises(RuntimeError, match="requires mode 'w'"):
        zipstream.ZipFile(mode=mode)


def test_dates_and_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        path = tmp_path / "f"
        path.write_bytes(b"F")
        path.chmod(0o640)
        os.utime(path, (1_700_000_000, 1_700_000_000))
        z = zipstream.ZipFile()
        z.write(path, "f")
        z.writestr("tuple", b"T", date_time=(2001, 2, 3, 4, 5, 6))
        z.write_iter("struct", [b"S"], date_time=time.struct_time((2002, 2, 3, 4, 5, 6, 0, 0, 0)))
        z.writestr("now", b"N")
        earliest = time.localtime()[:3]
        found = infos(b"".join(z))
        assert found["f"].date_time == (2023, 11, 14, 17, 13, 20)
        assert found["f"].extra[-4:] == (1_700_000_000).to_bytes(4, "little")
        assert found["f"].external_attr >> 16 & 0o777 == 0o640
        assert (found["tuple"].date_time, found["tuple"].extra) == ((2001, 2, 3, 4, 5, 6), b"")
        assert found["struct"].date_time == (2002, 2, 3, 4, 5, 6)
        assert earliest <= found["now"].date_time[:3] <= time.localtime()[:3]
        assert found["now"].external_attr >> 16 & 0o777 == 0o600
    finally:
        monkeypatch.undo()
        time.tzset()


def test_bytes_can_go_to_a_file_of_the_callers(tmp_path: Path) -> None:
    with open(tmp_path / "out.zip", "wb") as out:
        z = zipstream.ZipFile(out)
        z.writestr("a", b"A")
        assert sum(z) == out.tell()
    assert judged((tmp_path / "out.zip").read_bytes(), tmp_path) == {"a": b"A"}


def test_a_name_again_warns_and_is_stored() -> None:
    z = zipstream.ZipFile()
    z.writestr("a", b"1")
    z.writestr("a", b"2")
    with pytest.warns(UserWarning, match="Duplicate name: 'a'"):
        data = b"".join(z)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["a", "a"]


@pytest.mark.parametrize(
    ("arcname", "stored"),
    [("/a/b", "a/b"), ("a/./b/../c", "a/c"), ("../../etc/x", "etc/x"), ("é/ü", "é/ü"), ("a\\b", "a/b"), ("d/", "d")],
)
def test_names_are_relative_and_plain(arcname: str, stored: str) -> None:
    z = zipstream.ZipFile()
    z.writestr(arcname, b"x")
    assert list(oracles.members(b"".join(z))) == [stored]


@given(st.lists(st.tuples(st.booleans(), st.lists(st.binary(max_size=200_000), max_size=4)), max_size=5))
def test_whatever_is_queued_is_in_the_archive(jobs: list[tuple[bool, list[bytes]]]) -> None:
    z = zipstream.ZipFile(compression=zipstream.ZIP_DEFLATED)
    parts: list[bytes] = []
    for position, (flushes, chunks) in enumerate(jobs):
        z.write_iter(f"{position}", chunks, compress_type=zipstream.ZIP_STORED if position % 2 else None)
        parts += z.flush() if flushes else []
    parts += z
    assert all(parts)
    expected = {f"{position}": b"".join(chunks) for position, (_, chunks) in enumerate(jobs)}
    assert oracles.members(b"".join(parts)) == expected


@pytest.mark.parametrize("fails", [False, True])
def test_flask_streams_it(fails: bool, tmp_path: Path) -> None:
    flask = module("flask")
    app = flask.Flask("compat")

    @app.route("/")  # type: ignore[untyped-decorator]
    def download() -> Any:
        z = zipstream.ZipFile(mode="w", compression=zipstream.ZIP_DEFLATED)
        z.write_iter("a", iter([b"A" * 1000]))
        if fails:
            z.write_iter("bad", failing(b"B"))
        return flask.Response(z, mimetype="application/zip")

    if fails:
        with pytest.raises(BoomError):
            _ = app.test_client().get("/").data
    else:
        assert judged(app.test_client().get("/").data, tmp_path) == {"a": b"A" * 1000}


def test_django_streams_it_and_closes_it(tmp_path: Path) -> None:
    settings = module("django.conf").settings
    if not settings.configured:
        settings.configure()
    answers = module("django.http")
    z = zipstream.ZipFile(mode="w", compression=zipstream.ZIP_DEFLATED)
    z.writestr("a", b"A" * 1000)
    response = answers.StreamingHttpResponse(z, content_type="application/zip")
    assert judged(b"".join(response), tmp_path) == {"a": b"A" * 1000}
    response.close()

    ended: list[int] = []
    z = zipstream.ZipFile()
    z.write_iter("endless", endless(ended))
    response = answers.StreamingHttpResponse(z)
    next(iter(response))
    response.close()  # the client has left
    assert ended == [1]


# What is better than it was


def after(z: Any) -> list[Callable[[], object]]:
    return [lambda: list(z), lambda: list(z.flush())]


def test_nothing_follows_a_source_that_failed() -> None:
    z = zipstream.ZipFile()
    z.write_iter("bad", failing(b"B" * 100_000))
    z.writestr("c", b"C")
    with pytest.raises(BoomError):
        list(z)
    for again in after(z):
        with pytest.raises(PoisonedError):
            again()
    z.close()
    for again in after(z):
        with pytest.raises(PoisonedError):
            again()


def test_giving_up_within_a_member_leaves_no_archive() -> None:
    ended: list[int] = []
    z = zipstream.ZipFile()
    z.write_iter("endless", endless(ended))
    z.writestr("a", b"A")
    chunks = z.flush()
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert ended
    for again in after(z):
        with pytest.raises(PoisonedError):
            again()


def test_closing_within_a_member_closes_its_source() -> None:
    ended: list[int] = []
    z = zipstream.ZipFile()
    z.write_iter("endless", endless(ended))
    chunks = iter(z)
    next(chunks)
    z.close()
    assert ended == [1]
    with pytest.raises((PoisonedError, RuntimeError)):
        list(z)


def test_giving_up_within_the_end_leaves_no_other() -> None:
    z = zipstream.ZipFile()
    for number in range(5000):
        z.writestr(f"{number:0100}", b"")
    chunks, seen = iter(z), b""
    while b"PK\1\2" not in seen:
        seen = next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    with pytest.raises((PoisonedError, RuntimeError)):
        list(z)


def test_dropping_one_makes_no_noise() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        z = zipstream.ZipFile()
        z.writestr("a", b"A")
        next(iter(z))
        del z


def test_what_is_no_data_is_refused() -> None:
    for source in ("text", ["text"], range(3), None):
        z = zipstream.ZipFile()
        z.write_iter("a", source)  # type: ignore[arg-type]
        with pytest.raises(EntryTypeError):
            list(z)
    z = zipstream.ZipFile()
    with pytest.raises(NotImplementedError):
        z.writestr("a", b"", compress_type=99)
    with pytest.raises(NotImplementedError):
        zipstream.ZipFile(compression=99)
    with pytest.raises(TypeError):
        z.write_iter(iterable=[b""])  # type: ignore[call-arg]
    z.writestr("..", b"x")
    with pytest.raises(UnsafeNameError):
        list(z)
