"""One archive written by many workers into Azure's blocks: a real Azurite, read by Azure's own client."""

from __future__ import annotations

import base64
import pickle
import random
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from tests.support.buckets import PART, need_obstore
from tests.support.loops import module
from tests.support.node_stores import ACCOUNT, CONTAINER, KEY, azurite
from tests.support.oracles import members
from tests.support.part_uploads import StopError, interrupted
from tests.support.peaks import PEAK, PEAK_OF_A_PART
from tests.support.relays import Relay, relaying
from tests.support.workers import dask, processes, threads
from zipstream_adapter import Entry, ZipLayout, stream_zip, walk
from zipstream_adapter.errors import (
    LimitError,
    OptionError,
    RemoteError,
    RemoteNotFoundError,
    RemotePermissionError,
    SourceChangedError,
)
from zipstream_adapter.remote import (
    PartsProgress,
    UploadToken,
    abort_upload,
    compress_parts,
    upload_parts,
    upload_zip,
    walk_store,
)
from zipstream_adapter.remote.azure_client import AzureBlob, signature_of
from zipstream_adapter.remote.uploading.azure_blocks import AzureBlocks
from zipstream_adapter.remote.uploading.upload_parts import make_and_put

obstore = need_obstore()
MIB = 1 << 20
DATA = [random.Random(number).randbytes(8 << 20) for number in range(2)]
LAYOUT = ZipLayout([Entry(f"{number}.bin", data) for number, data in enumerate(DATA)])
PARTS = -(-LAYOUT.size // PART)


_PROBE = (
    PEAK
    + """
from obstore.store import AzureStore

endpoint, account, key, container, mebibytes = *sys.argv[1:5], int(sys.argv[5])
client = {"allow_http": True}
store = AzureStore(container, account_name=account, account_key=key, endpoint=endpoint, client_options=client)
"""
    + PEAK_OF_A_PART
)


class Container:
    """A container in Azurite, asked through a relay.

    Attributes:
        relay: the relay.
        path: of the blob that the test writes.
    """

    def __init__(self, relay: Relay, client: Any, path: str) -> None:
        self.relay, self.path = relay, path
        self._client = client

    def store(self, **options: Any) -> Any:
        """An obstore store of it, which does not try for long."""
        retries = {
            "max_retries": 2,
            "retry_timeout": timedelta(seconds=10),
            "backoff": {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=5), "base": 2},
        }
        known = {
            "account_name": ACCOUNT,
            "account_key": KEY,
            "endpoint": f"http://127.0.0.1:{self.relay.server_port}/{ACCOUNT}",
            "client_options": {"allow_http": True},
            "retry_config": retries,
        }
        given = {name: value for name, value in {**known, **options}.items() if value is not None}
        return obstore.store.AzureStore(CONTAINER, **given)

    @property
    def blob(self) -> Any:
        """The blob, for Azure's client."""
        return self._client.get_blob_client(self.path)

    def read(self) -> bytes:
        data: bytes = self.blob.download_blob().readall()
        return data

    def left(self) -> list[int]:
        """The sizes of the blocks that are out of sight."""
        try:
            return [block.size for block in self.blob.get_block_list("uncommitted")[1]]
        except module("azure.core.exceptions").ResourceNotFoundError:
            return []

    def taken(self) -> Counter[int]:
        """How often the store has taken each part."""
        return self._parts(lambda status: status == 201)

    def sent(self) -> Counter[int]:
        """How often each part was sent."""
        return self._parts(lambda status: True)

    def _parts(self, counts: Callable[[int | None], bool]) -> Counter[int]:
        names = [re.search("blockid=([^&]+)", asked.query) for asked in self.relay.asked if counts(asked.status)]
        return Counter(int(base64.b64decode(unquote(found[1]))[-5:]) for found in names if found)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Any]]:
    """The port of Azurite, and Azure's client for the container."""
    clients = module("azure.storage.blob")
    with azurite(tmp_path_factory.mktemp("azurite")) as options:
        client = clients.ContainerClient(options["endpoint"], CONTAINER, {"account_name": ACCOUNT, "account_key": KEY})
        with client:
            yield urlsplit(options["endpoint"]).port or 0, client


@pytest.fixture
def container(server: tuple[int, Any], request: pytest.FixtureRequest) -> Iterator[Container]:
    with relaying(server[0]) as relay:
        # A blob of its own for each test.
        yield Container(relay, server[1], f"{re.sub('[^a-z0-9]+', '-', request.node.name)}/a b&c+d%20é.zip")
        relay.rules.clear()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as made:
        yield made


def refuse(status: int, query: str, method: str = "PUT") -> Callable[[str, str, str], int | None]:
    """A rule: requests of `method` whose query holds `query` (a pattern) get `status`."""
    return lambda asked, path, given: status if asked == method and re.search(query, given) else None


def of_part(number: int) -> Callable[[str], bool]:
    """Return a function that tells whether a query sends part `number`."""

    def is_part(query: str) -> bool:
        found = re.search("blockid=([^&]+)", query)
        return found is not None and int(base64.b64decode(unquote(found[1]))[-5:]) == number

    return is_part


def refuse_part(number: int, *statuses: int) -> Callable[[str, str, str], int | None]:
    """A rule: a part gets these, one after another; if there is only one, always that."""
    left, is_part = list(statuses), of_part(number)

    def rule(method: str, path: str, query: str) -> int | None:
        if not is_part(query) or not left:
            return None
        return left[0] if len(statuses) == 1 else left.pop(0)

    return rule


@pytest.mark.parametrize("executor", [threads, processes, partial(dask, 2)], ids=["threads", "processes", "dask"])
def test_workers_make_what_is_streamed(container: Container, tmp_path: Path, executor: Callable[[], Any]) -> None:
    for number in range(2):
        (tmp_path / f"{number}.bin").write_bytes(random.Random(number).randbytes(9 * MIB))
    for number in range(100):
        (tmp_path / f"note {number}.txt").write_bytes(b"some text\n" * number)
    layout = ZipLayout(walk(tmp_path))
    with executor() as workers:
        done = upload_parts(container.store(), container.path, layout, workers, part_size=PART)
    assert container.read() == b"".join(stream_zip(walk(tmp_path)))
    assert done.size == layout.size
    found = container.blob.get_blob_properties()
    assert (found.etag, found.content_settings.content_type) == (done.etag, "application/zip")
    assert container.taken() == dict.fromkeys(range(1, 5), 1)
    assert container.left() == []


def test_a_prefix_of_the_store_counts(container: Container, pool: ThreadPoolExecutor) -> None:
    prefix, _, name = container.path.partition("/")
    upload_parts(container.store(prefix=prefix), name, LAYOUT, pool, part_size=PART)
    assert container.read() == b"".join(LAYOUT.iter_range())


@pytest.mark.parametrize("stop", range(PARTS + 1))
def test_an_upload_goes_on_after_each_part(container: Container, pool: ThreadPoolExecutor, stop: int) -> None:
    token = interrupted(container.store(), container.path, LAYOUT, pool, PART, stop)
    assert not container.blob.exists()
    # Parts that were on their way have ended, and count.
    sent = sum(container.taken().values())
    assert len(container.left()) == sent >= stop
    done: list[PartsProgress] = []
    again = pickle.loads(pickle.dumps(token))
    uploaded = upload_parts(container.store(), container.path, LAYOUT, pool, resume=again, on_progress=done.append)
    assert container.read() == b"".join(LAYOUT.iter_range())
    assert uploaded.size == LAYOUT.size
    assert container.taken() == dict.fromkeys(range(1, PARTS + 1), 1)
    assert done[0].parts == sent
    assert done[-1][:4] == (PARTS, LAYOUT.size, PARTS, LAYOUT.size)
    assert container.left() == []
    with pytest.raises(RemoteNotFoundError, match="any more: it was completed"):
        upload_parts(container.store(), container.path, LAYOUT, pool, resume=token)
    assert container.read() == b"".join(LAYOUT.iter_range())


def test_an_older_blob_stays_until_the_commit(container: Container, pool: ThreadPoolExecutor) -> None:
    container.blob.upload_blob(b"the blob before")
    container.relay.rules.append(refuse_part(3, 403))
    with pytest.raises(RemotePermissionError, match="403 Forbidden: Injected") as caught:
        upload_parts(container.store(), container.path, LAYOUT, pool, part_size=PART)
    assert not hasattr(caught.value, "__notes__")
    assert container.read() == b"the blob before"
    container.relay.rules.clear()
    upload_parts(container.store(), container.path, LAYOUT, pool, part_size=PART)
    assert container.read() == b"".join(LAYOUT.iter_range())
    assert container.left() == []


def test_blocks_of_upload_zip_are_not_in_the_way(container: Container, pool: ThreadPoolExecutor) -> None:
    """Azure wants the names of a blob's blocks to have one length."""
    with pytest.raises(StopError):
        upload_zip(container.store(), container.path, [("a", bytes(12 * MIB)), ("b", _failing)], part_size=PART)
    assert container.left() != []
    upload_parts(container.store(), container.path, LAYOUT, pool, part_size=PART)
    assert container.read() == b"".join(LAYOUT.iter_range())


def _failing() -> Iterator[bytes]:
    yield bytes(12 * MIB)
    raise StopError


def test_a_source_that_fails_leaves_no_blob(container: Container, pool: ThreadPoolExecutor) -> None:
    layout = ZipLayout([Entry("a", bytes(12 * MIB)), Entry("b", _failing, size=20 * MIB, crc32=1)])
    with pytest.raises(StopError) as caught:
        upload_parts(container.store(), container.path, layout, pool, part_size=PART)
    assert "entry 'b'" in caught.value.__notes__[0]
    assert not container.blob.exists()


def test_a_cancelled_part_leaves_no_blob(container: Container) -> None:
    begun = threading.Event()

    def interrupt(state: PartsProgress) -> None:
        if state.parts:
            begun.set()
            raise KeyboardInterrupt

    with threads() as workers, pytest.raises(KeyboardInterrupt):
        upload_parts(container.store(), container.path, LAYOUT, workers, part_size=PART, on_progress=interrupt)
    assert begun.is_set()
    count = len(container.relay.asked)
    assert not container.blob.exists()
    assert all("blocklist" not in asked.query for asked in container.relay.asked[:count])


@pytest.mark.parametrize(("failures", "fails"), [(2, False), (3, True)])
def test_a_part_is_handed_to_a_worker_again(
    container: Container, pool: ThreadPoolExecutor, failures: int, fails: bool
) -> None:
    container.relay.rules.append(refuse_part(2, *[503] * failures))
    store = container.store(retry_config={"max_retries": 0})
    if fails:
        with pytest.raises(RemoteError, match="503 Service Unavailable: Injected"):
            upload_parts(store, container.path, LAYOUT, pool, part_size=PART)
        assert not container.blob.exists()
    else:
        upload_parts(store, container.path, LAYOUT, pool, part_size=PART)
        assert container.read() == b"".join(LAYOUT.iter_range())
    assert container.sent()[2] == 3


@pytest.mark.parametrize("fault", [503, -500, 429, 0])
def test_a_worker_repeats_a_request(container: Container, pool: ThreadPoolExecutor, fault: int) -> None:
    """0: the connection breaks."""
    container.relay.rules.append(refuse_part(2, fault, fault, 500))
    retries = {"max_retries": 5, "backoff": {"init_backoff": timedelta(milliseconds=1)}}
    upload_parts(container.store(retry_config=retries), container.path, LAYOUT, pool, part_size=PART, tries=1)
    assert container.read() == b"".join(LAYOUT.iter_range())
    assert container.sent()[2] == 4


class Pauses(threading.Event):
    """Notes how long it is waited for, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        return False


def test_retry_after_is_obeyed(container: Container) -> None:
    AzureBlocks(container.store(), container.path).target(1).put(b"data")
    left, pauses = [503, 429], Pauses()
    container.relay.fields["Retry-After"] = "7"
    container.relay.rules.append(lambda method, path, query: left.pop() if left else None)
    blob = AzureBlob(container.store(retry_config=None), container.path).signed("GET")
    assert b"<Size>4</Size>" in blob.call("GET", "comp=blocklist&blocklisttype=all", given_up=pauses).data
    assert pauses.seconds == [7.0, 7.0]


def test_patience_ends(container: Container) -> None:
    container.relay.fields["Retry-After"] = "100"
    container.relay.rules.append(refuse(503, "comp=block&"))
    store = container.store(retry_config={"retry_timeout": timedelta(seconds=20)})
    with pytest.raises(RemoteError, match=r"503 Service Unavailable: Injected.*asks to be left alone for 100 s"):
        AzureBlocks(store, container.path).target(1).put(b"data")
    assert container.sent() == {1: 1}


def test_an_answer_that_is_lost_is_no_failure(container: Container, pool: ThreadPoolExecutor) -> None:
    lost = iter([-500])
    container.relay.rules.append(lambda method, path, query: next(lost, None) if query.endswith("blocklist") else None)
    done = upload_parts(container.store(), container.path, LAYOUT, pool, part_size=PART)
    assert container.read() == b"".join(LAYOUT.iter_range())
    assert container.blob.get_blob_properties().etag == done.etag


def test_an_answer_of_another_server_is_no_success(container: Container, pool: ThreadPoolExecutor) -> None:
    """A proxy that asks for a login answers everything by 200."""
    container.relay.rules.append(refuse(200, "comp="))
    with pytest.raises(RemoteError, match="the blocks could not be made one blob: the answer has no ETag"):
        upload_parts(container.store(), container.path, LAYOUT, pool, part_size=PART)
    assert not container.blob.exists()


def test_who_comes_second_fails_if_another_has_completed(container: Container, pool: ThreadPoolExecutor) -> None:
    """Azure drops the blocks of all others then."""

    def replace(state: PartsProgress) -> None:
        if state.parts == state.parts_total:
            container.blob.stage_block(f"{0:032}", b"another")
            container.blob.commit_block_list([f"{0:032}"])

    with pytest.raises(RemoteError, match="the blocks could not be made one blob: 400 Bad Request: InvalidBlockList"):
        upload_parts(container.store(), container.path, LAYOUT, pool, part_size=PART, on_progress=replace)
    assert container.read() == b"another"


def test_a_commit_is_not_repeated_once_given_up(container: Container, pool: ThreadPoolExecutor) -> None:
    """After a deadline, the thread that waits for a commit is left alone. It must not complete the blob later."""
    asked = threading.Event()

    def rule(method: str, path: str, query: str) -> int | None:
        if asked.is_set():
            return None
        asked.set()
        return 503

    upload = AzureBlocks(container.store(retry_config=None), container.path)
    name = upload.target(1).put(b"data")
    container.relay.rules.append(rule)
    container.relay.fields["Retry-After"] = "60"
    done = pool.submit(upload.complete, [name])
    assert asked.wait(60)
    upload.abort(Exception())
    with pytest.raises(RemoteError, match="could not be made one blob: 503"):
        done.result(60)
    assert not container.blob.exists()
    assert container.left() == [4]


def test_a_part_brings_its_md5_for_the_store_to_check(container: Container) -> None:
    target = AzureBlocks(container.store(), container.path).target(1)
    target.put(b"data")
    sent = container.relay.asked[-1]
    assert sent.fields["Content-MD5"] == "jXd/OF09/siBXSD3SWAm3A=="
    assert "Authorization" not in sent.fields
    assert dict(parse_qsl(sent.query)).keys() == {"sv", "se", "sr", "sp", "sig", "comp", "blockid"}
    with pytest.raises(RemoteError, match="contentMD5 doesn't match"):
        target._send(lambda: [b"data"], 4, b"0" * 16)


def test_a_large_part_is_streamed(
    container: Container, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zipstream_adapter.remote.uploading.upload_parts.MOST_HELD", MIB)
    container.relay.rules.append(refuse_part(2, 503, -503))
    upload_parts(container.store(), container.path, LAYOUT, pool, part_size=PART)
    assert container.read() == b"".join(LAYOUT.iter_range())
    assert container.sent() == {**dict.fromkeys(range(1, PARTS + 1), 1), 2: 3}
    assert all("Content-MD5" in asked.fields for asked in container.relay.asked if "blockid" in asked.query)


def test_a_worker_does_not_hold_a_large_part(server: tuple[int, Any]) -> None:
    pytest.importorskip("resource", reason="the peak is not told here")
    endpoint = f"http://127.0.0.1:{server[0]}/{ACCOUNT}"
    command = [sys.executable, "-c", _PROBE, endpoint, ACCOUNT, KEY, CONTAINER, "64"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert server[1].get_blob_client("a.zip").get_blob_properties().size > 64 * MIB
    assert int(done.stdout) < 24 * MIB


def test_data_that_differs_the_second_time_is_refused(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zipstream_adapter.remote.uploading.upload_parts.MOST_HELD", MIB)
    given = iter([b"a", b"b"])
    layout = ZipLayout([Entry("a", lambda: iter([next(given) * (4 * MIB)]), size=4 * MIB, crc32=1)])
    upload = AzureBlocks(container.store(), container.path)
    with pytest.raises(SourceChangedError, match="gave other data when it was made again"):
        make_and_put(layout.parts(2 * MIB)[0], upload.target(1))
    assert container.left() == []


def test_an_error_of_a_source_is_none_of_the_connection(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zipstream_adapter.remote.uploading.upload_parts.MOST_HELD", MIB)
    calls: list[int] = []

    def failing() -> Iterator[bytes]:
        calls.append(1)
        yield bytes(3 * MIB)
        if len(calls) > 1:
            raise ConnectionResetError("the source broke")
        yield bytes(3 * MIB)

    layout = ZipLayout([Entry("a", failing, size=6 * MIB, crc32=1)])
    with pytest.raises(ConnectionResetError, match="the source broke"):
        make_and_put(layout.parts(PART)[0], AzureBlocks(container.store(), container.path).target(1))
    assert calls == [1, 1]
    assert container.left() == []


def test_limits_are_checked_at_once(container: Container, pool: ThreadPoolExecutor) -> None:
    store = container.store()
    for size, part, said in (
        (50_001 * 4000 * MIB, 4000 * MIB, "50000 parts of 4194304000 bytes"),
        (50_001 * PART, PART, "50000 parts"),
    ):
        layout = ZipLayout([Entry("a", lambda: iter(()), size=size, crc32=0)])
        with pytest.raises(LimitError, match=said):
            upload_parts(store, container.path, layout, pool, part_size=part)
    with pytest.raises(OptionError, match="from 5 MiB to 4000 MiB"):
        upload_parts(store, container.path, LAYOUT, pool, part_size=4001 * MIB)
    with pytest.raises(OptionError, match="from 5 MiB to 4000 MiB"):
        upload_zip(store, container.path, [], part_size=4001 * MIB)
    assert container.relay.asked == []


def test_an_upload_that_was_kept_goes_on_after_it_was_given_up(container: Container, pool: ThreadPoolExecutor) -> None:
    """Azure keeps the blocks for a week."""
    container.relay.rules.append(refuse_part(3, 403))
    with pytest.raises(RemotePermissionError) as caught:
        upload_parts(container.store(), container.path, LAYOUT, pool, part_size=PART, keep=True)
    token = caught.value.token  # type: ignore[attr-defined]
    assert token.upload_id in caught.value.__notes__[0]
    container.relay.rules.clear()
    abort_upload(container.store(), token)
    upload_parts(container.store(), container.path, LAYOUT, pool, resume=token)
    assert container.read() == b"".join(LAYOUT.iter_range())
    assert max(container.taken().values()) == 1


def test_a_token_of_another_store_is_refused(container: Container, pool: ThreadPoolExecutor) -> None:
    token = UploadToken(container.path, "an id of S3", PART, LAYOUT.size, LAYOUT.etag)
    with pytest.raises(OptionError, match="the upload 'an id of S3' is of another kind of store"):
        upload_parts(container.store(), container.path, LAYOUT, pool, resume=token)
    assert container.relay.asked == []


def test_workers_compress_and_send(container: Container) -> None:
    """Temporary objects, checksums and processes that get the store."""
    store, folder = container.store(), container.path.partition("/")[0]
    text = [random.Random(number).randbytes(3000).hex().encode() for number in range(12)]
    for number, data in enumerate(text):
        obstore.put(store, f"{folder}/from/{number:02}.txt", data)
    entries = list(walk_store(store, f"{folder}/from"))
    with processes() as workers:
        with compress_parts(entries, workers, store, f"{folder}/temporary", max_inline=0) as made:
            assert list(obstore.list(store, f"{folder}/temporary").collect()) != []
            upload_parts(store, container.path, ZipLayout(made), workers)
        assert list(obstore.list(store, f"{folder}/temporary").collect()) == []
        assert members(container.read()) == {f"{number:02}.txt": data for number, data in enumerate(text)}
        layout = ZipLayout(entries)
        layout.find_checksums(workers)
        upload_parts(store, container.path, layout, workers)
    assert container.read() == b"".join(stream_zip(entries))


def test_a_store_with_a_shared_access_signature(container: Container, pool: ThreadPoolExecutor) -> None:
    blobs = module("azure.storage.blob")
    permission = blobs.ContainerSasPermissions(read=True, write=True)
    end = datetime.now(UTC) + timedelta(hours=1)
    sas = blobs.generate_container_sas(ACCOUNT, CONTAINER, account_key=KEY, permission=permission, expiry=end)
    for options in ({"sas_key": sas}, {"credential_provider": lambda: {"sas_token": f"?{sas}", "expires_at": end}}):
        upload_parts(container.store(account_key=None, **options), container.path, LAYOUT, pool, part_size=PART)
        assert container.read() == b"".join(LAYOUT.iter_range())
        container.blob.delete_blob()


@pytest.mark.parametrize("prefix", ["", "some/prefix"])
@pytest.mark.parametrize("endpoint", [None, f"http://127.0.0.1:9/{ACCOUNT}"])
@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_obstore_signs_the_same(prefix: str, endpoint: str | None, method: str) -> None:
    """Its signature of a plain key is right."""
    known = {"account_name": ACCOUNT, "account_key": KEY, **({"endpoint": endpoint} if endpoint else {})}
    store = obstore.store.AzureStore(CONTAINER, prefix=prefix, client_options={"allow_http": True}, **known)
    theirs = urlsplit(obstore.sign(store, method, "dir/a.zip", timedelta(hours=12)))
    fields = dict(parse_qsl(theirs.query))
    resource = f"/blob/{ACCOUNT}/{CONTAINER}/{prefix}/dir/a.zip".replace("//", "/")
    assert signature_of(fields, resource, KEY) == fields["sig"]
    ours = urlsplit(AzureBlob(store, "dir/a.zip").signed(method).url)
    assert ours[:3] == theirs[:3]
    signed = dict(parse_qsl(ours.query))
    assert signed.pop("sig") == signature_of(signed, resource, KEY)
    assert signed.keys() == fields.keys() - {"sig", "st"}
    assert (signed["sp"], signed["sr"]) == ("r" if method == "GET" else "w", "b")


def test_a_key_that_cannot_be_signed_is_refused() -> None:
    """obstore signs the percent-encoding, and nobody else has the secret."""
    store = obstore.store.AzureStore(CONTAINER, use_emulator=True)
    with pytest.raises(OptionError, match="obstore signs keys with spaces, '%' or letters beyond ASCII wrongly"):
        AzureBlob(store, "a b.zip").signed("PUT")
    assert AzureBlob(store, "dir/a+b&c.zip").signed("PUT").url.endswith("%3D")


def test_credentials_come_from_where_the_store_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    end = datetime.now(UTC) + timedelta(hours=1)

    def provider() -> dict[str, Any]:
        return {"access_key": KEY, "expires_at": end}

    stores = [obstore.store.AzureStore(CONTAINER, account_name=ACCOUNT, credential_provider=provider)]
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCESS_KEY", KEY)
    stores.append(obstore.store.AzureStore(CONTAINER))
    for store in stores:
        assert "sig=" in AzureBlob(store, "a b.zip").signed("PUT").url
    monkeypatch.delenv("AZURE_STORAGE_ACCESS_KEY")
    monkeypatch.setenv("AZURE_STORAGE_SAS_TOKEN", "?sv=2026&sig=x%3D")
    url = AzureBlob(obstore.store.AzureStore(CONTAINER), "a b.zip").signed("PUT").url
    assert url == f"https://{ACCOUNT}.blob.core.windows.net/{CONTAINER}/a%20b.zip?sv=2026&sig=x%3D"

    async def later() -> dict[str, Any]:
        return {"sas_token": [("sv", "2026"), ("sig", "x=")], "expires_at": end}

    with pytest.raises(OptionError, match="credential_provider is asynchronous"):
        AzureBlob(obstore.store.AzureStore(CONTAINER, credential_provider=later), "a.zip").signed("PUT")


def test_errors_say_no_secret(container: Container) -> None:
    target = AzureBlocks(container.store(), container.path).target(1)
    assert "sig=" not in repr(target)
    for status, error in ((403, RemotePermissionError), (404, RemoteNotFoundError), (400, RemoteError)):
        container.relay.rules[:] = [refuse(status, "blockid")]
        with pytest.raises(error, match=rf"in AzureStore.*{status}.*Injected") as caught:
            target.put(b"data")
        assert "sig=" not in str(caught.value)
        assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
    container.relay.rules[:] = [refuse(0, "blockid")]
    with pytest.raises(RemoteError, match=r"in AzureStore: the connection broke \(tried 3 times\)") as caught:
        target.put(b"data")
    assert "sig=" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"skip_signature": True}, "skip_signature='true' is not supported for uploads by parts"),
        (
            {"encryption_key": base64.b64encode(bytes(32)).decode(), "endpoint": "https://127.0.0.1:1"},
            "encryption_key=… is",
        ),
        ({"client_options": {"allow_http": True, "proxy_ca_certificate": "x"}}, "client option 'proxy_ca_certificate'"),
    ],
)
def test_options_that_cannot_be_are_refused(
    container: Container, pool: ThreadPoolExecutor, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        upload_parts(container.store(**options), container.path, LAYOUT, pool)
    assert container.relay.asked == []


def test_the_extra_is_named(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "urllib3", None)
    with pytest.raises(ImportError, match="install the extra 's3'"):
        AzureBlob(container.store(), "a")
