"""What cutting a member into blocks costs and gains, and what bytes depend on: `python -m tests.benchmarks.blocks`.

Prints, for some engines and block sizes, by how much blocks are larger than the engine's own plain stream, and the
speed of one thread and of several; then whether an engine lets other threads run; then what else than the data an
engine's bytes depend on: how a block was cut, where it lies in memory, the thread, the process.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

from tests.benchmarks.corpora import CORPORA, KINDS, Corpus
from tests.benchmarks.levels import ENGINE_LEVELS, ENGINES, MIB, WINDOW, Job, Setup, cut, deflate, plain

SIZES = (128, 256, 512, 1024)  # KiB
COMPARED = [each for each in (Setup("zlib", 6), Setup("zlib-ng", 5), Setup("isal", 1)) if each.engine in ENGINES]
SAMPLED = ("python-source", "executables", "json-lines")


def best_of(repeats: int, work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of the fastest run."""
    times = []
    for _ in range(repeats):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times)


def through_pool(pool: Executor, setup: Setup, jobs: list[Job], window: int) -> int:
    """The size of what a pool makes of `jobs`, taken in order, with at most `window` in flight."""
    flying: deque[Future[bytes]] = deque()
    size = 0
    for job in jobs:
        if len(flying) >= window:
            size += len(flying.popleft().result())
        flying.append(pool.submit(deflate, setup, job))
    return size + sum(len(each.result()) for each in flying)


def print_sizes(data: dict[Corpus, bytes], threads: int, repeats: int) -> None:
    print(
        f"blocks: MB/s of 1 and {threads} threads; per cent larger than the engine's plain stream (worst corpus/mean)"
    )
    print(f"{'':12}{'KiB':>5}{'1':>7}{threads:>7}  gain" + "".join(f"{kind:>16}" for kind in KINDS))
    for setup in COMPARED:
        plains = {corpus: len(plain(setup, content)) for corpus, content in data.items()}
        for size in SIZES:
            print_size(data, plains, setup, size, threads, repeats)


def print_size(
    data: dict[Corpus, bytes], plains: dict[Corpus, int], setup: Setup, size: int, threads: int, repeats: int
) -> None:
    one = many = 0.0
    excess: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with ThreadPoolExecutor(threads) as pool:
        for corpus, content in data.items():
            jobs = cut(content, size << 10)
            total = sum(len(deflate(setup, job)) for job in jobs)
            excess[corpus.kind].append((total / plains[corpus] - 1) * 100)
            one += best_of(repeats, lambda jobs=jobs: [deflate(setup, job) for job in jobs])  # type: ignore[misc]
            many += best_of(repeats, lambda jobs=jobs: through_pool(pool, setup, jobs, threads + 1))  # type: ignore[misc]
    megabytes = sum(map(len, data.values())) / 1e6
    cells = "".join(f"{f'{max(each):+.2f}/{sum(each) / len(each):+.2f}':>16}" for each in excess.values() if each)
    print(f"{setup!s:12}{size:5}{megabytes / one:7.0f}{megabytes / many:7.0f} x{one / many:.2f}{cells}")


def print_threads(content: bytes, threads: int, repeats: int) -> None:
    """How much more several threads do than one: about 1 where the interpreter's lock is held."""
    print(f"\n{threads} threads, each the same work, against one alone (1 if they have to wait for one another)")
    for engine in ENGINES:
        gains = []
        for level in ENGINE_LEVELS[engine]:
            jobs = cut(content, MIB)
            setup = Setup(engine, level)
            alone = best_of(repeats, lambda s=setup, j=jobs: in_threads(1, s, j))  # type: ignore[misc]
            together = best_of(repeats, lambda s=setup, j=jobs: in_threads(threads, s, j))  # type: ignore[misc]
            gains.append(f"{level}: x{threads * alone / together:.2f}")
        print(f"  {engine:8} {' '.join(gains)}")


def in_threads(count: int, setup: Setup, jobs: list[Job]) -> list[str]:
    """The digests of what each of some threads made of the same jobs, at the same time."""
    found: list[str] = []

    def work() -> None:
        found.append(digest(b"".join([deflate(setup, job) for job in jobs])))

    workers = [threading.Thread(target=work) for _ in range(count)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    return found


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def fed(setup: Setup, pieces: Sequence[memoryview | bytes], before: memoryview | bytes) -> str:
    """The digest of one block, given to the compressor in pieces."""
    compressor = ENGINES[setup.engine].compressobj(setup.level, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=before)
    out = [compressor.compress(piece) for piece in pieces]
    return digest(b"".join([*out, compressor.flush(zlib.Z_SYNC_FLUSH)]))


def in_pieces(data: bytes, size: int) -> list[memoryview]:
    return [memoryview(data)[at : at + size] for at in range(0, len(data), size)]


def variants(setup: Setup, job: Job) -> Iterator[tuple[str, bool]]:
    """(what was different, whether the bytes remained the same)."""
    data, before = job.data, job.before
    usual = fed(setup, [data], before)
    yield "run again", all(fed(setup, [data], before) == usual for _ in range(3))
    yield "a memoryview", fed(setup, [memoryview(data)], memoryview(before)) == usual
    shifted = []
    for offset in (1, 2, 3, 5, 8, 13, 31, 33, 63):
        larger = memoryview(b"\xa5" * offset + data + b"\x5a" * 64)[offset : offset + len(data)]
        known = memoryview(b"\x3c" * offset + before + b"\xc3" * 64)[offset : offset + len(before)]
        shifted.append(fed(setup, [larger], known))
    yield "odd offsets", set(shifted) == {usual}
    yield "its first byte alone", fed(setup, [data[:1], data[1:]], before) == usual
    for size in (1000, 4096, 10007, 1 << 16):
        yield f"in pieces of {size}", fed(setup, in_pieces(data, size), before) == usual
    yield "in threads at once", set(in_threads(4, setup, [job])) == {usual}
    yield "in another process", elsewhere(setup, job) == usual


def elsewhere(setup: Setup, job: Job) -> str:
    """The digest that another process comes to, one whose fresh memory is not zeros."""
    code = (
        "import sys; from tests.benchmarks.blocks import fed, Setup; given = sys.stdin.buffer.read();"
        f"print(fed(Setup{tuple(setup)!r}, [given[{len(job.before)}:]], given[:{len(job.before)}]))"
    )
    environment = {**os.environ, "PYTHONMALLOC": "debug", "MALLOC_PERTURB_": "165"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env=environment,
        input=job.before + job.data,
        stdout=subprocess.PIPE,
        check=True,
        timeout=120,
    )
    return done.stdout.decode().strip()


def print_sameness(jobs: dict[str, Job]) -> None:
    print("\nwhat else than the data changes the bytes of a block")
    for engine in ENGINES:
        for level in ENGINE_LEVELS[engine]:
            changing: dict[str, list[str]] = {}
            for name, job in jobs.items():
                for what, same in variants(Setup(engine, level), job):
                    if not same:
                        changing.setdefault(what, []).append(name)
            shown = "; ".join(f"{what} ({', '.join(names)})" for what, names in changing.items())
            print(f"  {engine} {level}: {shown or 'nothing'}", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.blocks")
    parser.add_argument("what", nargs="*", choices=["sizes", "threads", "same"], help="the tables to print (all)")
    parser.add_argument("--size", type=float, default=4, help="MiB of each corpus (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="(%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many is taken (%(default)s)")
    options = parser.parse_args(argv)
    what = options.what or ["sizes", "threads", "same"]
    size = int(options.size * MIB)
    sampled = {corpus.name: corpus for corpus in CORPORA if corpus.name in SAMPLED}
    if "sizes" in what:
        made = {corpus: corpus.make(size) for corpus in CORPORA}
        print_sizes({corpus: data for corpus, data in made.items() if data}, options.threads, options.repeats)
    if "threads" in what:
        print_threads(sampled["python-source"].make(size), options.threads, options.repeats)
    if "same" in what:
        contents = {name: corpus.make(WINDOW + (1 << 18)) for name, corpus in sampled.items()}
        print_sameness({name: Job(data[WINDOW:], data[:WINDOW], False) for name, data in contents.items()})


if __name__ == "__main__":
    main()
