"""Forks: a child that comes of a process with archives under way has what it needs, and waits for no lost thread."""

from __future__ import annotations

import os

import pytest

from tests.support.executors import run_script
from tests.support.loops import module

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

FORK = """
import os, signal, sys, threading, traceback, warnings
from concurrent.futures import ThreadPoolExecutor
from tests.support.executors import *

warnings.simplefilter("ignore", DeprecationWarning)  # of a fork while there are threads: it is why we are here

def fork(work):
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(150)
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)

def wait_for(*children):
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * len(children)

whole = long_stream(workers=0).read()
"""
MIDWAY = """
make = {"long": long_stream, "small": small_stream}[sys.argv[1]]
executor = ThreadPoolExecutor(2) if sys.argv[2] == "given" else None
expected = make(workers=0).read()
stream, dropped, closed = (make(executor=executor) for _ in range(3))
left = [run_into(each, 3 * BLOCK) for each in (stream, dropped, closed)][0]

def child(generation=2):
    global dropped
    assert threading.active_count() == 1
    assert long_stream().read() == whole
    if generation:
        wait_for(fork(lambda: child(generation - 1)))
    closed.close()
    del dropped
    rest, busy = b"", 0
    for chunk in stream:
        rest += chunk
        busy = max(busy, threading.active_count())
    assert left + rest == expected
    assert busy > 1 or executor is not None  # whose threads are in the parent
    assert make().read() == expected
    assert threading.active_count() == 1

children = [fork(child), fork(child)]
assert left + stream.read() == expected
children.append(fork(lambda: closed.close()))
closed.close()
del dropped
wait_for(*children)
assert make().read() == expected
if executor:
    executor.shutdown()
assert threading.active_count() == 1
"""


@pytest.mark.parametrize(
    ("make", "executor"),
    [
        ("long", "default"),
        ("small", "given"),
        pytest.param("long", "given", marks=pytest.mark.sweep),
        pytest.param("small", "default", marks=pytest.mark.sweep),
    ],
)
def test_a_forked_child_finishes_its_copy_of_a_stream_and_makes_new_ones(make: str, executor: str) -> None:
    assert run_script(FORK + MIDWAY, make, executor) == 0


ARCHIVE = """
archive = long_archive()
member = archive.open("second", "w")
for data in blocks(5):
    member.write(data)
left = archive.drain()

def finish():
    for data in blocks(11):
        member.write(data)
    member.close()
    archive.close()
    made = left + archive.drain()
    assert made.count(b"PK\\1\\2") == 2
    with zipfile.ZipFile(io.BytesIO(made)) as reader:
        assert reader.read("second") == NOISE * 16
    assert threading.active_count() == 1

import io, zipfile
children = fork(finish), fork(lambda: archive.__exit__(BoomError, BoomError("boom"), None))
finish()
wait_for(*children)
"""


def test_a_forked_child_finishes_its_copy_of_an_archive() -> None:
    assert run_script(FORK + ARCHIVE) == 0


BUSY = """
over = threading.Event()

def others():
    while not over.is_set():
        assert long_stream(count=6).read() == whole

whole = long_stream(count=6, workers=0).read()

def child():
    assert long_stream(count=6).read() == whole
    assert threading.active_count() == 1

with ThreadPoolExecutor(3) as threads:
    busy = [threads.submit(others) for _ in range(3)]
    try:
        for _ in range(12):
            wait_for(fork(child))
    finally:
        over.set()
    for each in busy:
        each.result()
"""


def test_a_child_that_was_forked_at_any_time_makes_streams() -> None:
    assert run_script(FORK + BUSY) == 0


QUIET = """
import os, sys, time, warnings
from tests.support.executors import *

def told():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pid = os.fork()
        if not pid:
            os._exit(0)
    os.waitpid(pid, 0)
    return [warning.category for warning in caught]

def settled():
    # The system may take a moment longer than Python to see a thread's end.
    end = time.monotonic() + 30
    while os.path.isdir("/proc/self/task") and len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < end:
        time.sleep(0.01)
    return told()

assert told() == []
for _ in range(3):
    stream = long_stream()
    run_into(stream)
    assert sys.version_info < (3, 12) or told() == [DeprecationWarning]
    stream.read()
    assert settled() == []
    stream = long_stream()
    run_into(stream)
    stream.close()
    assert settled() == []
"""


def test_a_process_with_no_archive_under_way_can_fork_without_a_warning() -> None:
    assert run_script(QUIET) == 0


KEYS = """
import io, random, zipfile
SIZE = 50_000

def salts(archive):
    found = {}
    for info in zipfile.ZipFile(io.BytesIO(archive)).infolist():
        at = info.header_offset + 30 + len(info.filename) + len(info.extra)
        found[info.filename] = archive[at : at + 16]
    return found

stream = stream_zip(
    ((str(i), random.Random(f"{os.getpid()} {i}").randbytes(SIZE)) for i in range(20)),
    password="secret", lookahead=1 << 20, chunk_size=1000, workers=int(sys.argv[1]),
)
left = b"".join(next(stream) for _ in range(5 * SIZE // 1000))
begun = left.count(b"PK\3\4")
give, get = os.pipe()[::-1]

def child():
    rest = salts(left + stream.read())
    os.write(give, b"".join(rest.values()))

wait_for(fork(child))
own = salts(left + stream.read())
theirs = os.read(get, 16 * 20)
shared = [name for name, salt in own.items() if salt in theirs]
assert begun >= 5 and len(own) == 20
assert shared == [str(i) for i in range(begun)], shared
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_no_member_that_is_begun_after_a_fork_has_the_key_of_another(workers: int) -> None:
    module("Crypto.Cipher.AES")
    run_script(FORK + KEYS, str(workers))


FETCHED = """
import gc, io, multiprocessing, time, zipfile
from zipstream_adapter import Entry, StreamStateError

go, skipped = threading.Event(), []

def waits():
    yield b"first"
    assert go.wait(60)
    yield b"second"

def make():
    entries = [("before", NOISE), *(Entry(name, waits()) for name in "abcd")]
    return stream_zip(entries, prefetch=2, on_error=lambda entry, exc: skipped.append(exc))

def begun():
    stream = make()
    next(stream)
    return stream

stream, dropped, left_alone, unbegun = begun(), begun(), begun(), make()

def child():
    global dropped
    start = time.monotonic()
    assert threading.active_count() == 1
    try:
        stream.read()
    except StreamStateError as exc:
        assert "its thread has stayed there" in str(exc), exc
    else:
        raise AssertionError("it went on")
    assert not skipped
    stream.close()
    del dropped
    gc.collect()
    assert time.monotonic() - start < 10  # which the parent's threads would be waited for
    go.set()
    with zipfile.ZipFile(io.BytesIO(unbegun.read())) as archive:
        assert archive.read("d") == b"firstsecond"
    assert threading.active_count() == 1

def way(how):
    if how == "os._exit":
        return fork(child)
    if how == "multiprocessing":
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join(60)
        assert process.exitcode == 0
        return fork(lambda: None)
    pid = os.fork()
    if not pid:
        signal.alarm(150)
        child()
        sys.exit()  # with all that is done at exit
    return pid

how = sys.argv[1]
pid = way(how)
wait_for(pid)
go.set()
for each in (stream, dropped, left_alone):
    each.read()
assert not skipped
assert threading.active_count() == 1
"""


@pytest.mark.parametrize("how", ["os._exit", "sys.exit", "multiprocessing"])
def test_a_forked_child_is_told_that_what_was_fetched_is_not_there(how: str) -> None:
    assert run_script(FORK + FETCHED, how) == 0


FETCHING = """
from zipstream_adapter import Entry
over = threading.Event()

def make():
    entries = [Entry(str(number), iter([NOISE[:1000]] * 5), modified=DATE) for number in range(50)]
    return stream_zip(entries, prefetch=4).read()

def others():
    while not over.is_set():
        assert make() == whole

whole = make()
with ThreadPoolExecutor(2) as threads:
    busy = [threads.submit(others) for _ in range(2)]
    try:
        for _ in range(12):
            wait_for(fork(lambda: make() == whole or os._exit(1)))
    finally:
        over.set()
    for each in busy:
        each.result()
"""


def test_a_child_that_was_forked_while_entries_are_fetched_makes_streams() -> None:
    assert run_script(FORK + FETCHING) == 0
