"""Members that workers compress: threads, processes, and Dask's; in memory, and in temporary objects of moto's S3."""

from __future__ import annotations

import functools
import io
import multiprocessing
import os
import pickle
import random
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest

from tests.support.buckets import PART, Bucket, need_obstore, refuse, serving
from tests.support.executors import Recording
from tests.support.loops import module
from tests.support.oracles import members
from tests.support.workers import Measuring, Processes, dask, processes, threads
from zipstream_adapter import (
    CRC32MismatchError,
    Entry,
    EntryError,
    EntryTypeError,
    OptionError,
    RemoteError,
    SizeMismatchError,
    SourceChangedError,
    StreamClosedError,
    ZipLayout,
    stream_zip,
    walk,
)
from zipstream_adapter._concurrency.scattered import scatter
from zipstream_adapter.remote import compress_parts, upload_parts, walk_store
from zipstream_adapter.remote.uploading.compress_parts import _Work

MIB = 1 << 20
DATE = 1_700_000_000
# All headers of the stream are complete, as those of a layout of raw entries are.
COMPLETE: dict[str, Any] = {"lookahead": 1 << 30}


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with serving() as made:
        yield made


def text(seed: int, size: int) -> bytes:
    """Data that deflate makes about a third of."""
    pick = random.Random(seed)
    words = [pick.randbytes(6).hex().encode() for _ in range(400)]
    return b" ".join(pick.choices(words, k=size // 13 + 1))[:size]


def opened(path: Path) -> io.BufferedReader:
    """A callable source that can be pickled."""
    return path.open("rb")


def chunks(seed: int) -> Iterator[bytes]:
    data = text(seed, 400_000)
    return iter([data[at : at + 70_000] for at in range(0, len(data), 70_000)])


def failing(message: object) -> Any:
    raise ValueError(message)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Members of all lengths that matter: none, short, a block, two, pieces with and without a rest."""
    root = tmp_path_factory.mktemp("tree")
    sizes = [0, 1, 5000, 1 << 18, (1 << 18) + 1, 1 << 19, MIB, MIB + 1, 2 * MIB, 2 * MIB + 77_777]
    for number, size in enumerate(sizes):
        (root / f"file {number}.txt").write_bytes(text(number, size))
    (root / "deeper").mkdir()
    for number in range(60):
        (root / "deeper" / f"note {number}.txt").write_bytes(text(number, 300 * number))
    (root / "deeper" / "link").symlink_to("note 1.txt")
    return root


def entries_of(root: Path) -> list[Entry]:
    """The tree, and what else an entry can be."""
    path = root / "file 9.txt"
    data = text(9, 2 * MIB + 77_777)
    return [
        *walk(root, symlinks="store"),
        Entry("called", functools.partial(opened, path), size=len(data), modified=DATE, mode=0o600),
        Entry("of unknown size", functools.partial(chunks, 3), modified=DATE),
        Entry("opened, of unknown size", functools.partial(opened, path), modified=DATE),
        Entry("in memory", data, modified=DATE, comment=b"a comment", extra=b"\xfe\xca\x02\x00ab"),
        Entry("in pieces", [data[:5], data[5:]], modified=DATE),
        Entry("level 1", path, level=1),
        Entry("level 0", path, level=0),
        Entry("stored", path, compression="stored"),
        Entry("bzip2", path, compression="bzip2"),
        Entry("lzma", path, compression="lzma", level=1),
        Entry.raw("raw", b"\x03\x00", compression="deflate", size=0, crc32=0, modified=DATE),
        Entry("zip64", path, zip64=True),
    ]


@pytest.mark.parametrize("executor", [threads, processes], ids=["threads", "processes"])
@pytest.mark.parametrize("options", [{}, {"level": 1}, {"engine": "auto"}], ids=str)
def test_workers_compress_what_one_machine_does(
    tree: Path, executor: Callable[[], Executor], options: dict[str, Any]
) -> None:
    entries = entries_of(tree)
    whole = b"".join(stream_zip(entries, compression="deflate", **{"engine": "zlib", **options}, **COMPLETE))
    with executor() as workers, compress_parts(entries, workers, piece_size=MIB, **options) as made:
        layout = ZipLayout(made, **COMPLETE)
        assert b"".join(layout.iter_range()) == whole
        assert layout.etag is None or isinstance(layout.etag, str)


@pytest.mark.parametrize("seconds", [-(10**9), 9_300_000_000])  # 2264: more nanoseconds than 63 bits hold
def test_files_of_any_date(tmp_path: Path, seconds: int) -> None:
    path = tmp_path / "a"
    path.write_bytes(text(1, 3 * MIB))
    os.utime(path, (seconds, seconds))
    if path.stat().st_mtime != seconds:
        pytest.skip("the file system has no such date")
    entries = [Entry("a", path)]
    whole = b"".join(stream_zip(entries, compression="deflate", engine="zlib", **COMPLETE))
    with threads() as workers, compress_parts(entries, workers, piece_size=MIB) as made:
        assert b"".join(ZipLayout(made, **COMPLETE).iter_range()) == whole


def test_short_members_need_no_lookahead(tree: Path) -> None:
    entries = list(walk(tree / "deeper"))
    with threads() as workers, compress_parts(entries, workers) as made:
        assert b"".join(ZipLayout(made).iter_range()) == b"".join(
            stream_zip(entries, compression="deflate", engine="zlib")
        )


def test_other_methods(tree: Path) -> None:
    module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    entries = list(walk(tree))
    with threads() as workers, compress_parts(entries, workers, compression="zstd", level=5) as made:
        whole = b"".join(stream_zip(entries, compression="zstd", level=5, **COMPLETE))
        assert b"".join(ZipLayout(made, **COMPLETE).iter_range()) == whole


@pytest.mark.parametrize("executor", [threads, processes, functools.partial(dask, 2)], ids=["threads", "spawn", "dask"])
def test_an_object_is_made_by_way_of_temporary_ones(bucket: Bucket, tree: Path, executor: Callable[[], Any]) -> None:
    store, entries = bucket.store(), entries_of(tree)
    with executor() as workers:
        with compress_parts(entries, workers, store, "temporary/here", piece_size=MIB) as made:
            packs = bucket.objects()
            assert packs
            assert all(key.startswith(made.prefix) for key in packs)
            assert made.prefix.startswith("temporary/here/")
            assert pickle.loads(pickle.dumps(made[-1])).name == made[-1].name
            upload_parts(store, "all.zip", ZipLayout(made, **COMPLETE), workers, part_size=PART)
        assert list(bucket.objects()) == ["all.zip"]
    assert bucket.read("all.zip") == b"".join(stream_zip(entries, compression="deflate", engine="zlib", **COMPLETE))
    assert bucket.unfinished() == []


def test_objects_are_compressed_into_one(bucket: Bucket) -> None:
    data = {f"from/{number}": text(number, 700_000 * number) for number in range(5)}
    for key, each in data.items():
        bucket.client().put_object(Bucket="bucket", Key=key, Body=each)
    store = bucket.store()
    with processes() as workers, compress_parts(walk_store(store, "from"), workers, store, piece_size=MIB) as made:
        upload_parts(store, "to.zip", ZipLayout(made), workers)
    assert members(bucket.read("to.zip")) == {key.removeprefix("from/"): each for key, each in data.items()}
    with zipfile.ZipFile(io.BytesIO(bucket.read("to.zip"))) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_DEFLATED}


def test_any_range_of_packed_members_can_be_read(bucket: Bucket, tree: Path) -> None:
    entries = [Entry("long", tree / "file 9.txt"), Entry("longer", tree / "file 8.txt")]
    whole = b"".join(stream_zip(entries, compression="deflate", engine="zlib", **COMPLETE))
    with threads() as workers, compress_parts(entries, workers, bucket.store(), piece_size=MIB, max_inline=0) as made:
        layout = ZipLayout(made, **COMPLETE)
        assert layout.etag is not None
        for start in range(0, layout.size, 150_001):
            assert b"".join(layout.iter_range(start, min(layout.size, start + 5000))) == whole[start : start + 5000]
        with layout.open() as file, zipfile.ZipFile(file) as archive:
            assert archive.testzip() is None


def test_a_part_carries_only_the_packs_that_it_needs(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(random.Random(1).randbytes(12 * MIB))
    entries = [tmp_path / "long"]
    whole = b"".join(stream_zip(entries, compression="deflate", engine="zlib", level=1, **COMPLETE))
    with threads() as workers, compress_parts(entries, workers, bucket.store(), level=1, piece_size=MIB) as made:
        assert len(bucket.objects()) == 12
        layout = ZipLayout(made, **COMPLETE)
        for part in layout.parts(700_001):
            sent = pickle.dumps(part)
            assert sent.count(b"zipstream-adapter/") <= 2
            assert pickle.loads(sent).read() == whole[part.start : part.stop]


@pytest.mark.parametrize("executor", [processes, functools.partial(dask, 2)], ids=["spawn", "dask"])
def test_checksums_of_objects_are_found_by_workers_elsewhere(bucket: Bucket, executor: Callable[[], Any]) -> None:
    for number in range(5):
        bucket.client().put_object(Bucket="bucket", Key=f"from/{number}", Body=text(number, 300_000 * number))
    layout = ZipLayout(walk_store(bucket.store(), "from"))
    assert [entry.crc32 for entry in layout.entries] == [None] * 5
    with executor() as workers:
        layout.find_checksums(workers)
        assert [entry.crc32 for entry in layout.entries] == [
            zlib.crc32(text(each, 300_000 * each)) for each in range(5)
        ]
        broken = Entry("broken", functools.partial(failing, "no data"), size=5)
        locked = Entry("locked", functools.partial(failing, threading.Lock()), size=5)
        with pytest.raises(ValueError, match="no data") as caught:
            ZipLayout([*walk_store(bucket.store(), "from"), broken]).find_checksums(workers)
        assert any("'broken'" in note for note in caught.value.__notes__)
        with pytest.raises(EntryTypeError, match=r"'locked'.*cannot be sent to another process"):
            ZipLayout([locked]).find_checksums(workers)
        with pytest.raises(EntryTypeError, match=r"'locked'.*cannot be sent to another process"):
            compress_parts([locked], workers, bucket.store())


def test_little_crosses_the_scheduler(bucket: Bucket, tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"some file {number:04}").write_bytes(text(number, 20_000))
    with (
        Measuring(2) as workers,
        compress_parts(sorted(tmp_path.iterdir()), workers, bucket.store()) as made,
    ):
        assert len(made) == 1000
        assert len(bucket.objects()) == 2
    assert workers.sent / 1000 < 250
    assert workers.returned / 1000 < 100


def test_short_output_is_returned(bucket: Bucket) -> None:
    entries = [Entry(str(number), text(number, 2000), modified=DATE) for number in range(50)]
    with threads() as workers, compress_parts(entries, workers, bucket.store(), max_inline=2000) as made:
        assert bucket.objects() == {}
        assert all(isinstance(entry.source, bytes) for entry in made)
    with threads() as workers, compress_parts(entries, workers, bucket.store(), max_inline=100) as made:
        assert len(bucket.objects()) == 1
        assert b"".join(ZipLayout(made).iter_range()) == b"".join(
            stream_zip(entries, compression="deflate", engine="zlib")
        )


@pytest.mark.parametrize("executor", [threads, processes], ids=["threads", "processes"])
@pytest.mark.parametrize("number", [0, 20, 39])
def test_a_failure_names_its_entry_and_leaves_nothing(
    bucket: Bucket, executor: Callable[[], Executor], number: int
) -> None:
    entries = [Entry(str(number), text(number, 3 * MIB)) for number in range(4)]
    entries += [Entry(f"short {number}", text(number, 30_000)) for number in range(40)]
    entries.insert(number, Entry("broken", functools.partial(failing, "no data"), size=10_000))
    with executor() as workers, pytest.raises(ValueError, match="no data") as caught:
        compress_parts(entries, workers, bucket.store(), piece_size=MIB)
    assert any("'broken'" in note for note in caught.value.__notes__)
    assert (bucket.objects(), bucket.unfinished()) == ({}, [])


def test_a_failure_of_the_entries_leaves_nothing(bucket: Bucket) -> None:
    def entries() -> Iterator[Entry]:
        yield Entry("a", text(1, 3 * MIB))
        raise ValueError("no more")

    with threads() as workers, pytest.raises(ValueError, match="no more"):
        compress_parts(entries(), workers, bucket.store(), piece_size=MIB)
    assert bucket.objects() == {}


def test_a_refused_pack_leaves_nothing(bucket: Bucket, tree: Path) -> None:
    count = iter(range(100))
    bucket.rules.append(lambda method, path, query: 403 if method == "PUT" and next(count) == 2 else None)
    with threads() as workers, pytest.raises(RemoteError, match="Injected"):
        compress_parts(walk(tree), workers, bucket.store(), piece_size=MIB)
    assert (bucket.objects(), bucket.unfinished()) == ({}, [])


def test_what_cannot_be_removed_is_told_of(bucket: Bucket, tree: Path) -> None:
    entries = [Entry("a", tree / "file 9.txt"), Entry("b", functools.partial(failing, "no data"), size=2 * MIB)]
    bucket.rules.append(refuse(403, "POST", "delete"))
    with ThreadPoolExecutor(1) as workers, pytest.raises(ValueError, match="no data") as caught:
        compress_parts(entries, workers, bucket.store(), piece_size=MIB)
    assert any("temporary objects may remain under 'zipstream-adapter/" in note for note in caught.value.__notes__)
    with threads() as workers:
        made = compress_parts(entries[:1], workers, bucket.store(), piece_size=MIB)
        with pytest.raises(RemoteError, match="temporary objects"):
            made.close()
        bucket.rules.clear()
        made.close()
        made.close()
    assert [key for key in bucket.objects() if key.startswith(made.prefix)] == []
    with pytest.raises(StreamClosedError):
        made[0]


def dying() -> Any:
    os._exit(1)


def test_a_worker_that_dies_leaves_nothing(bucket: Bucket, tree: Path) -> None:
    entries = [*(Entry(str(each), tree / "file 9.txt") for each in range(4)), Entry("end", dying, size=2 * MIB)]
    with Processes() as workers, pytest.raises(BrokenProcessPool):
        compress_parts(entries, workers, bucket.store(), piece_size=MIB)
    assert any(method == "PUT" for method, _, _ in bucket.asked)
    assert (bucket.objects(), bucket.unfinished()) == ({}, [])


def test_an_interrupt_leaves_nothing(bucket: Bucket, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **more: object) -> Any:
        time.sleep(0.05)
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr("zipstream_adapter._concurrency.scattered.wait", interrupted)
    with threads() as workers, pytest.raises(KeyboardInterrupt):
        compress_parts(walk(tree), workers, bucket.store(), piece_size=MIB)
    assert (bucket.objects(), bucket.unfinished()) == ({}, [])


def test_output_longer_than_a_part_is_sent_in_parts(bucket: Bucket, tmp_path: Path) -> None:
    data = random.Random(1).randbytes(20 * MIB)
    (tmp_path / "long").write_bytes(data)
    entries = [Entry("long", functools.partial(opened, tmp_path / "long"), modified=DATE)]
    with threads() as workers, compress_parts(entries, workers, bucket.store(), level=1, piece_size=MIB) as made:
        assert bucket.parts_asked() == [1, 2]
        layout = ZipLayout(made, **COMPLETE)
        assert b"".join(layout.iter_range()) == b"".join(
            stream_zip(entries, compression="deflate", engine="zlib", level=1, **COMPLETE)
        )
    assert (bucket.objects(), bucket.unfinished()) == ({}, [])


def test_an_exception_in_the_block_removes_all(bucket: Bucket, tree: Path) -> None:
    with (
        threads() as workers,
        pytest.raises(KeyboardInterrupt),
        compress_parts([tree / "file 9.txt"], workers, bucket.store()),
    ):
        assert bucket.objects()
        raise KeyboardInterrupt
    assert bucket.objects() == {}


@pytest.mark.parametrize("executor", [threads, processes], ids=["threads", "processes"])
@pytest.mark.parametrize("size", [1000, 3 * MIB])
def test_a_file_that_changes_is_told_of(
    tmp_path: Path, executor: Callable[[], Executor], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(text(1, size))
    work = _Work(threads(), None, "", "deflate", None, "zlib", MIB, 0, 64)
    tasks = list(work._tasks(iter([Entry("file", path)])))
    path.write_bytes(text(2, size))
    with executor() as workers, pytest.raises(SourceChangedError, match="'file'"):
        for _, future in scatter(workers, tasks, 2):
            future.result()


@pytest.mark.parametrize(
    ("entry", "error", "message"),
    [
        (Entry("a", b"data", crc32=5), CRC32MismatchError, "'a'.*not the declared"),
        (Entry("a", text(1, 3 * MIB), crc32=5), CRC32MismatchError, "'a'.*not the declared"),
        (Entry("a", functools.partial(io.BytesIO, b"data"), size=5), SizeMismatchError, "'a'"),
        (Entry("a", io.BytesIO(b"data")), EntryTypeError, "'a'.*only once"),
        (Entry("a", iter([b"data"])), EntryTypeError, "'a'.*only once"),
        (Entry("a", b"data", password="secret"), EntryError, "'a'.*cannot encrypt"),
        (Entry("a", b"data", compression="auto"), EntryError, "'a'.*auto"),
        (Entry("a", Path("/not/there")), FileNotFoundError, "not/there"),
        (5, EntryTypeError, "not an entry"),
    ],
)
def test_entries_that_cannot_be_are_refused(entry: Any, error: type[Exception], message: str) -> None:
    with threads() as workers, pytest.raises(error, match=message):
        compress_parts([("first", b"data"), entry], workers, piece_size=MIB)


def test_what_cannot_be_sent_is_named(bucket: Bucket) -> None:
    local = [Entry("local", lambda: io.BytesIO(b"data"), size=4)]
    with processes() as workers, pytest.raises(EntryTypeError, match=r"'local'.*cannot be sent to another process"):
        compress_parts(local, workers)
    with processes() as workers, pytest.raises(OptionError, match="cannot be sent to another process"):
        compress_parts([("a", b"data")], workers, need_obstore().store.MemoryStore())
    with threads() as here, compress_parts(local, here) as made:
        assert members(b"".join(ZipLayout(made).iter_range())) == {"local": b"data"}


def test_other_stores(tmp_path: Path, tree: Path) -> None:
    obstore = need_obstore()
    whole = b"".join(stream_zip(walk(tree), compression="deflate", engine="zlib", **COMPLETE))
    for store in (obstore.store.MemoryStore(), obstore.store.LocalStore(str(tmp_path))):
        with threads() as workers, compress_parts(walk(tree), workers, store, piece_size=MIB) as made:
            assert any(chunk for chunk in obstore.list(store))
            assert b"".join(ZipLayout(made, **COMPLETE).iter_range()) == whole
        assert [meta for chunk in obstore.list(store) for meta in chunk] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"executor": None}, "give a concurrent.futures.Executor"),
        ({"compression": "stored"}, "ZipLayout takes it"),
        ({"compression": "none"}, "ZipLayout takes it"),
        ({"compression": "auto"}, "ZipLayout takes it"),
        ({"level": 0}, "ZipLayout takes it"),
        ({"level": 10}, "level=10"),
        ({"engine": "none"}, "engine='none'"),
        ({"piece_size": 1000}, "piece_size=1000"),
        ({"max_inline": -1}, "max_inline=-1"),
        ({"max_concurrency": 0}, "max_concurrency=0"),
        ({"store": "s3://bucket"}, "give an obstore store"),
        ({"prefix": "/a"}, "does not accept this key"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments: dict[str, Any], message: str) -> None:
    with threads() as workers, pytest.raises(OptionError, match=message):
        given = {"executor": workers, "store": need_obstore().store.MemoryStore(), **arguments}
        compress_parts([], given.pop("executor"), **given)


def test_forked_processes_are_refused() -> None:
    forked = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork"))
    with forked as workers, pytest.raises(OptionError, match="fork"):
        compress_parts([], workers)


def test_no_more_is_submitted_than_that() -> None:
    taken: list[int] = []

    def entries() -> Iterator[Entry]:
        for number in range(12):
            # Entries are taken as they are needed.
            assert number <= sum(future.done() for future in workers.futures) + 3
            taken.append(number)
            yield Entry(str(number), functools.partial(list, [b"data"]))

    with Recording(8, together=2) as workers:
        compress_parts(entries(), workers, max_concurrency=2).close()
    assert workers.most == 2
