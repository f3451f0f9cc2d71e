"""Remote archives as a file system of fsspec, and archives that go to other processes."""

from __future__ import annotations

import importlib
import io
import pickle
import tomllib
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.loops import module
from tests.support.raw_server import RawServer, raw_server
from tests.support.remote_archives import MIB, Fetch, archive_of, members_of
from tests.support.servers import ROOT
from zipstream_adapter.errors import OptionError, SourceChangedError
from zipstream_adapter.remote import open_remote

fsspec = module("fsspec")
module("obstore")


def _archive() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tables/a.csv", "x,y\n" + "1,2\n" * 50_000)
        archive.writestr("tables/deep/b.csv", "x,y\n3,4\n")
        archive.writestr("empty/", b"")
        archive.writestr("large.bin", bytes(range(256)) * 8192, zipfile.ZIP_STORED)
    return made.getvalue()


DATA = _archive()


@pytest.fixture
def server() -> Iterator[RawServer]:
    name, _, place = _entry_point().partition(" ")
    package, _, cls = place.partition(":")
    fsspec.register_implementation(name, getattr(importlib.import_module(package), cls), clobber=True)
    with raw_server(DATA) as made:
        yield made


def _entry_point() -> str:
    """The name and the class that the installed package registers."""
    found = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]["fsspec.specs"]
    ((name, place),) = found.items()
    return f"{name} {place}"


def test_members_are_files(server: RawServer) -> None:
    with fsspec.open("remotezip://tables/a.csv", "rt", fo=server.url) as file:
        assert file.readline() == "x,y\n"
    with fsspec.open(f"remotezip://large.bin::{server.url}") as file:
        file.seek(MIB)
        assert file.read(10) == bytes(range(10))
    last = server.asked[-1]
    assert last.stop - last.start <= MIB  # from there on


def test_directories(server: RawServer) -> None:
    files = fsspec.filesystem("remotezip", fo=server.url)
    assert files.ls("", detail=False) == ["empty", "large.bin", "tables"]
    assert files.find("") == ["large.bin", "tables/a.csv", "tables/deep/b.csv"]
    assert files.glob("**/*.csv") == ["tables/a.csv", "tables/deep/b.csv"]
    assert files.isdir("tables/deep") and files.isdir("empty") and not files.exists("none")
    assert files.info("large.bin")["size"] == 2 * MIB
    assert files.cat(["large.bin", "tables/deep/b.csv"]) == {
        name: data for name, data in members_of(DATA).items() if name in ("large.bin", "tables/deep/b.csv")
    }
    assert files.cat("tables/deep/b.csv") == b"x,y\n3,4\n"
    assert files.cat_file("large.bin", MIB, MIB + 3) == b"\0\1\2"
    for error, path, mode in (
        (FileNotFoundError, "none", "rb"),
        (IsADirectoryError, "tables", "rb"),
        (NotImplementedError, "a", "wb"),
    ):
        with pytest.raises(error):
            files.open(path, mode)
    files.close()
    with pytest.raises(OptionError, match="fo="):
        fsspec.filesystem("remotezip")


def test_files_go_to_other_processes(server: RawServer) -> None:
    files = pickle.loads(pickle.dumps(fsspec.filesystem("remotezip", fo=server.url, window=1)))
    assert files.cat_file("tables/deep/b.csv") == b"x,y\n3,4\n"
    opened = pickle.loads(pickle.dumps(fsspec.open("remotezip://tables/deep/b.csv", fo=server.url)))
    with opened as file:
        assert file.read() == b"x,y\n3,4\n"


def test_an_archive_goes_to_another_process(server: RawServer) -> None:
    with open_remote(server.url, window=2, deadline=50) as archive:
        archive.setpassword(b"secret")
        packed = pickle.dumps(archive)
    with pytest.raises(ValueError, match="has been closed"):
        pickle.dumps(archive)
    with pickle.loads(packed) as again:
        assert again.read("tables/deep/b.csv") == b"x,y\n3,4\n"
        assert (again.remote.window, again.remote.source.waiting.deadline, again.pwd) == (2, 50, b"secret")
    server.data = archive_of((100,))
    with pytest.raises(SourceChangedError, match="since it was pickled"):
        pickle.loads(packed)


def test_an_archive_behind_a_function_goes_if_that_can() -> None:
    with pickle.loads(pickle.dumps(open_remote(_fetch, size=len(DATA)))) as again:
        assert again.read("tables/deep/b.csv") == b"x,y\n3,4\n"
    with open_remote(Fetch(DATA), size=len(DATA)) as archive, pytest.raises(TypeError):
        pickle.dumps(archive)  # it has a lock


def _fetch(start: int, stop: int) -> bytes:
    return DATA[start:stop]


def test_the_file_of_an_archive_is_one_for_zipfile(server: RawServer) -> None:
    with open_remote(server.url) as archive:
        file: Any = archive.fp
        with zipfile.ZipFile(file) as other:
            assert {name: other.read(name) for name in other.namelist()} == members_of(DATA)


def _found(found: dict[str, Any]) -> dict[str, Any]:
    """What `cat` returned, with the types of errors."""
    return {name: type(data) if isinstance(data, Exception) else data for name, data in found.items()}


def test_what_is_named_and_is_no_file_is_an_error(server: RawServer) -> None:
    files = fsspec.filesystem("remotezip", fo=server.url)
    b = {"tables/deep/b.csv": b"x,y\n3,4\n"}
    for error, paths, recursive in (
        (FileNotFoundError, ["tables/deep/b.csv", "none"], False),
        (FileNotFoundError, ["tables", "none"], True),
        (FileNotFoundError, ["none"], True),
        (FileNotFoundError, ["none*"], False),
        (FileNotFoundError, "none", False),
        (IsADirectoryError, ["tables/deep/b.csv", "tables"], False),
        (IsADirectoryError, ["tables/deep/*", "empty"], False),
        (IsADirectoryError, "tables", False),
    ):
        with pytest.raises(error, match="none" if error is FileNotFoundError else "tables|empty"):
            files.cat(paths, recursive=recursive)
    # What a glob or a directory finds besides files is none of what was asked for.
    assert files.cat("tables/deep", recursive=True) == files.cat(["tables/deep"], recursive=True) == b
    assert sorted(files.cat("tables/*")) == ["tables/a.csv"]
    assert sorted(files.cat(["tables", "large.bin"], recursive=True)) == ["large.bin", "tables/a.csv", *b]
    assert files.cat("empty", recursive=True) == {}
    asked = ["none", "tables", "tables/deep/b.csv"]
    assert _found(files.cat(asked, on_error="omit")) == b
    assert _found(files.cat(asked, on_error="return")) == {"none": FileNotFoundError, "tables": IsADirectoryError, **b}
    assert files.cat("tables/deep", recursive=True, on_error="return") == b
    assert files.cat(["tables/deep/b.csv", "large.bin"], start=1, end=3) == {
        "tables/deep/b.csv": b",y",
        "large.bin": b"\1\2",
    }


@pytest.mark.parametrize("name", ["tables/a.csv", "tables/deep/b.csv", "large.bin"])
def test_bytes_are_counted_from_the_end(server: RawServer, name: str) -> None:
    data = members_of(DATA)[name]
    files = fsspec.filesystem("remotezip", fo=server.url)
    with files.open(name) as file:
        assert (file.size, file.name) == (len(data), name)
    assert files.cat_file(name, start=-5) == files.tail(name, 5) == data[-5:]
    assert files.cat_file(name, start=2, end=-2) == data[2:-2]
    assert files.cat_ranges([name], [-5], [None]) == [data[-5:]]
    assert files.read_block(name, 0, 5) == data[:5]
    assert files.read_block(name, 3, None) == data[3:]
    assert files.cat([name], start=-5) == {name: data[-5:]}
