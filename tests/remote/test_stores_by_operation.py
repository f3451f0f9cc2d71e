"""Each operation with each kind of store: moto, s3rver, Azurite, nginx, and a server without suffix ranges."""

from __future__ import annotations

import asyncio
import importlib
import zipfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.buckets import BUCKET, KEYS, PART, need_obstore, serving
from tests.support.nginx import nginx
from tests.support.node_stores import CONTAINER, azurite, s3rver
from tests.support.oracles import members
from tests.support.raw_server import RawServer, Request, raw_server
from tests.support.remote_archives import MIB, archive_of, members_of
from zipstream_adapter import Entry, ZipLayout
from zipstream_adapter.cli import main
from zipstream_adapter.errors import OptionError
from zipstream_adapter.remote import (
    compress_parts,
    member_stream,
    open_object,
    open_object_async,
    open_remote,
    open_remote_async,
    read_members,
    upload_parts,
    upload_zip,
    upload_zip_async,
    walk_store,
)

obstore = need_obstore()
DATA = archive_of((3 * MIB, 300, 70_000))
MEMBERS = members_of(DATA)
OLD = b"the object before"


@dataclass
class Place:
    """A store.

    Attributes:
        url: of the bucket, or of the directory.
        options: of `open_remote`, for URLs in it.
        environment: the same for the command.
        bucket: of moto; None for other stores.
    """

    url: str
    options: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    bucket: Any = None

    @property
    def scheme(self) -> str:
        return self.url.partition(":")[0]

    @property
    def store(self) -> Any:
        stores = importlib.import_module("obstore.store")
        if self.scheme == "http":
            return stores.HTTPStore(self.url, client_options={"allow_http": True})
        options = {key: value for key, value in self.options.items() if key != "allow_http"}
        kind = stores.AzureStore if self.scheme == "az" else stores.S3Store
        return kind(self.url.partition("//")[2], **options, client_options={"allow_http": True})

    def read(self, key: str) -> bytes:
        return bytes(obstore.get(self.store, key).bytes())

    def unfinished(self) -> list[str]:
        """What is left of uploads in a bucket that can say so. (Azure drops it itself. s3rver cannot abort.)"""
        return self.bucket.unfinished() if self.bucket is not None else []


def _without_suffix(server: RawServer, request: Request) -> None:
    if request.is_suffix:
        server.send(request, 501, b"no")
    else:
        server.give(request)


BUCKETS, SERVERS = ["moto", "s3rver", "azurite"], ["nginx", "no suffix ranges"]
everywhere = pytest.mark.parametrize("place", [*BUCKETS, *SERVERS], indirect=True, scope="module")
in_buckets = pytest.mark.parametrize("place", BUCKETS, indirect=True, scope="module")
over_http = pytest.mark.parametrize("place", SERVERS, indirect=True, scope="module")


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The store, with an archive in it."""
    home = tmp_path_factory.mktemp("home")
    with ExitStack() as stack:
        if request.param == "moto":
            bucket = stack.enter_context(serving())
            options: dict[str, Any] = {"endpoint": bucket.url, "region": "us-east-1", "allow_http": True, **KEYS}
            made = Place(f"s3://{BUCKET}", options, _for_command("AWS", options), bucket)
        elif request.param == "s3rver":
            options = stack.enter_context(s3rver(home))
            made = Place(f"s3://{BUCKET}", options, _for_command("AWS", options))
        elif request.param == "azurite":
            options = stack.enter_context(azurite(home))
            made = Place(f"az://{CONTAINER}", options, _for_command("AZURE_STORAGE", options))
        elif request.param == "nginx":
            (home / "a.zip").write_bytes(DATA)
            made = Place(stack.enter_context(nginx(home)))
        else:
            made = Place(stack.enter_context(raw_server(DATA, _without_suffix)).url.removesuffix("/a.zip"))
        if made.scheme != "http":
            obstore.put(made.store, "a.zip", DATA)
            for name, data in MEMBERS.items():
                obstore.put(made.store, f"files/{name}", data)
        yield made


def _for_command(prefix: str, options: dict[str, Any]) -> dict[str, str]:
    known = {f"{prefix}_{name.upper()}": value for name, value in options.items() if name != "allow_http"}
    return {**known, f"{prefix.partition('_')[0]}_ALLOW_HTTP": "true"}


@everywhere
def test_open(place: Place) -> None:
    with open_remote(f"{place.url}/a.zip", **place.options) as archive:
        assert archive.namelist() == list(MEMBERS)
    with open_remote("a.zip", store=place.store) as archive:
        assert archive.namelist() == list(MEMBERS)


@everywhere
@pytest.mark.parametrize("window", [1, 4])
def test_read(place: Place, window: int) -> None:
    with open_remote(f"{place.url}/a.zip", window=window, part_size=MIB, **place.options) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == MEMBERS
        assert dict(read_members(archive, list(MEMBERS))) == MEMBERS


@everywhere
async def test_read_under_asyncio(place: Place) -> None:
    for opened in (
        open_remote_async(f"{place.url}/a.zip", **place.options),
        open_remote_async("a.zip", store=place.store),
    ):
        archive = await opened
        for name, data in MEMBERS.items():
            assert b"".join([chunk async for chunk in member_stream(archive, name)]) == data
        archive.close()


@everywhere
async def test_range(place: Place) -> None:
    with open_remote(f"{place.url}/a.zip", **place.options) as archive, archive.open("0.bin") as member:
        member.seek(2 * MIB)
        assert member.read(70) == MEMBERS["0.bin"][2 * MIB : 2 * MIB + 70]
    opened = await open_remote_async(f"{place.url}/a.zip", **place.options)
    part = member_stream(opened, "0.bin", start=MIB, stop=MIB + 70)
    assert b"".join([chunk async for chunk in part]) == MEMBERS["0.bin"][MIB : MIB + 70]
    opened.close()


@everywhere
async def test_reading_cancelled(place: Place) -> None:
    opened = await open_remote_async(f"{place.url}/a.zip", **place.options)
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in member_stream(opened, "0.bin"):
            begun.set()
            await asyncio.sleep(60)

    task = asyncio.ensure_future(read())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert b"".join([chunk async for chunk in member_stream(opened, "1.bin")]) == MEMBERS["1.bin"]
    opened.close()


@in_buckets
def test_walk(place: Place) -> None:
    entries = list(walk_store(place.store, "files"))
    layout = ZipLayout(entries)
    whole = b"".join(layout.iter_range())
    assert members(whole) == MEMBERS
    assert b"".join(layout.iter_range(MIB, MIB + 70)) == whole[MIB : MIB + 70]


@in_buckets
def test_upload(place: Place) -> None:
    upload_zip(f"{place.url}/up.zip", [("large", bytes(12 * MIB)), *MEMBERS.items()], part_size=PART, **place.options)
    assert members(place.read("up.zip")) == {"large": bytes(12 * MIB), **MEMBERS}


@in_buckets
async def test_upload_under_asyncio(place: Place) -> None:
    await upload_zip_async(place.store, "async.zip", [("large", bytes(12 * MIB))], part_size=PART)
    assert members(place.read("async.zip")) == {"large": bytes(12 * MIB)}


@in_buckets
async def test_push(place: Place) -> None:
    with (
        open_object(f"{place.url}/push.zip", part_size=PART, **place.options) as file,
        zipfile.ZipFile(file, "w") as archive,
    ):
        archive.writestr("large", bytes(12 * MIB))
    assert members(place.read("push.zip")) == {"large": bytes(12 * MIB)}
    async with await open_object_async(place.store, "b.bin") as writer:
        await writer.write(b"data")
    assert place.read("b.bin") == b"data"


@in_buckets
def test_parts(place: Place) -> None:
    layout = ZipLayout([("large", bytes(12 * MIB)), *walk_store(place.store, "files")])
    with ThreadPoolExecutor(2) as workers:
        layout.find_checksums(workers)
        upload_parts(place.store, "parts.zip", layout, workers, part_size=PART)
        assert place.read("parts.zip") == b"".join(layout.iter_range())
        with compress_parts(walk_store(place.store, "files"), workers, place.store, "temporary") as made:
            upload_parts(place.store, "deflated.zip", ZipLayout(made), workers)
    assert members(place.read("deflated.zip")) == MEMBERS
    assert obstore.list(place.store, "temporary").collect() == []


def _failing() -> Iterator[bytes]:
    yield bytes(12 * MIB)
    raise RuntimeError("the source broke")


@in_buckets
@pytest.mark.parametrize("way", ["upload", "upload under asyncio", "push", "parts"])
def test_source_fails(place: Place, way: str) -> None:
    """The object that the upload was to replace stays."""
    obstore.put(place.store, "old.zip", OLD)
    entry = Entry("a", _failing, size=20 * MIB, crc32=1)
    with pytest.raises(RuntimeError, match="the source broke"):
        if way == "upload":
            upload_zip(place.store, "old.zip", [entry], part_size=PART)
        elif way == "upload under asyncio":
            asyncio.run(upload_zip_async(place.store, "old.zip", [entry], part_size=PART))
        elif way == "push":
            with open_object(place.store, "old.zip", part_size=PART) as file:
                for chunk in _failing():
                    file.write(chunk)
        else:
            with ThreadPoolExecutor(2) as workers:
                upload_parts(place.store, "old.zip", ZipLayout([entry]), workers, part_size=PART)
    assert place.read("old.zip") == OLD
    assert place.unfinished() == []


@in_buckets
async def test_uploading_cancelled(place: Place) -> None:
    await obstore.put_async(place.store, "old.zip", OLD)
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield bytes(12 * MIB)
        begun.set()
        await asyncio.sleep(60)

    task = asyncio.ensure_future(upload_zip_async(place.store, "old.zip", [("a", endless)], part_size=PART))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bytes(await (await obstore.get_async(place.store, "old.zip")).bytes_async()) == OLD
    assert place.unfinished() == []


@everywhere
def test_command(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert main(["list", f"{place.url}/a.zip"]) == 0
    assert b"0.bin" in capfdbinary.readouterr().out
    assert main(["cat", f"{place.url}/a.zip", "1.bin"]) == 0
    assert capfdbinary.readouterr().out == MEMBERS["1.bin"]
    assert main(["test", "-q", f"{place.url}/a.zip"]) == 0
    assert main(["extract", "-q", f"{place.url}/a.zip", "-d", "out"]) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == MEMBERS
    done = main(["out", "-o", f"{place.url}/command.zip"])
    said = capfdbinary.readouterr().err
    if place.scheme == "http":
        assert (done, b"cannot write to this URL: give a file, or an s3://, gs:// or az:// URL" in said) == (1, True)
    else:
        assert done == 0
        assert members(place.read("command.zip")) == {f"out/{name}": data for name, data in MEMBERS.items()}


@over_http
def test_what_http_cannot_do(place: Place) -> None:
    """It is refused at once, by an error that says what to do."""
    with pytest.raises(OptionError, match="cannot write to this URL: use s3://, gs://, az:// or file://"):
        upload_zip(f"{place.url}/a.zip", [])
    with pytest.raises(OptionError, match="HTTP has no multipart uploads: give the store of a bucket"):
        upload_zip(place.store, "a.zip", [])
    with pytest.raises(OptionError, match="cannot write to this URL"):
        open_object(f"{place.url}/a.zip")
    with ThreadPoolExecutor(1) as workers, pytest.raises(OptionError, match="HTTP has no multipart uploads"):
        upload_parts(place.store, "a.zip", ZipLayout([]), workers)
    with ThreadPoolExecutor(1) as workers, pytest.raises(OptionError, match="HTTP has no multipart uploads"):
        compress_parts([], workers, place.store)
