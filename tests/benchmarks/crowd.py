"""The asynchronous facade under load, beside its peers: `python -m tests.benchmarks.crowd`, from the checkout's root.

Five hundred downloads at a time; how late others on the event loop get their turn while streams deflate; what being
asynchronous costs; what prefetching gains. Each measurement is a process of its own. Prints one table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.benchmarks.environments import CHECKOUT, cache_folder, make
from tests.benchmarks.peers import OURS, PLAIN
from tests.benchmarks.report import table
from tests.benchmarks.workloads import MIB, Work, prepare

KIB = 1 << 10
# Downloads that the one peer that takes sources of this kind does not survive: as many as the default executor of two
# cores has threads.
PEER_CROWD, PEER_LIMIT = 6, 20.0
STREAMS, LEVEL = 4, 9
LATENCY = 0.02
LIMIT = 300.0
AIOFILES = "aiofiles"

Row = tuple[str, str, str]


class Bench(NamedTuple):
    """Where everything is, and how much of it is wanted."""

    cache: Path
    quick: bool
    runs: int

    def python(self, who: str) -> Path:
        if who in ("ours", "nobody"):
            return make(self.cache, OURS.requirements, False)
        return make(self.cache, PLAIN.requirements if who == "ours-plain" else (who, AIOFILES), False)

    def job(self, who: str, task: str, limit: float = LIMIT, **arguments: Any) -> dict[str, Any] | str:
        """What came of a task; a word where that was nothing."""
        job = {"task": task, "who": who, **arguments}
        command = [str(self.python(who)), "-m", f"{__package__}.crowd_worker", json.dumps(job)]
        print(f"{task}: {who}", file=sys.stderr, flush=True)
        try:
            done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            return f"hangs: not done after {limit:g} s"
        if done.returncode:
            return "fails: " + (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def text(self, size: int) -> str:
        """A file of text."""
        prepare(Work(name="text", shape="blocks", size=size, level=6), self.cache / "data")
        return str(self.cache / "data" / f"text-{size}.txt")

    def noise(self, count: int, size: int) -> list[str]:
        """Files that cannot be compressed."""
        prepare(Work(name="noise", shape="files", count=count, size=size), self.cache / "data")
        return [str(self.cache / "data" / f"noise-{number}-{size}.bin") for number in range(count)]


def downloads(bench: Bench) -> Iterator[Row]:
    sources = {"stored": bench.noise(2, 256 * KIB), "deflated": [bench.text(256 * KIB)] * 2}
    many = 50 if bench.quick else 500
    for who, count, limit in (
        ("ours", many, LIMIT),
        ("ours", PEER_CROWD, LIMIT),
        ("stream-zip", PEER_CROWD, PEER_LIMIT),
    ):
        what = f"{count} downloads of 4 x 256 KiB at a time, aiofiles, 2 stored and 2 deflated"
        found = bench.job(who, "downloads", limit, count=count, **sources)
        yield what, who, found if isinstance(found, str) else _said_of_downloads(found)


def _said_of_downloads(found: dict[str, Any]) -> str:
    faults = [*(["archives differ"] if found["different"] != 1 else []), *found["wrong"]]
    return (
        f"{found['done']} complete, {', '.join(faults) or 'all correct'}, {found['seconds']:.2f} s (the first after "
        f"{found['first']:.2f} s), at most {found['threads']} threads, {found['left']} left, peak "
        f"{found['peak'] / MIB:.0f} MiB, {found['grown'] / MIB:.0f} more than before"
    )


def heartbeats(bench: Bench) -> Iterator[Row]:
    size = (1 if bench.quick else 8) * MIB
    what = f"a task each millisecond, while {STREAMS} streams deflate {size // MIB} MiB each at level {LEVEL}: lateness"
    for who in ("nobody", "ours", "ours-plain", "stream-zip", "aiozipstream", "zipFly64"):
        note = " (level 5, its only one)" if who in ("aiozipstream", "zipFly64") else ""
        found = bench.job(who, "heartbeat", text=bench.text(size), streams=STREAMS, level=LEVEL)
        if isinstance(found, str):
            yield what, who + note, found
            continue
        late = ", ".join(f"{key} {found[key] * 1000:.2f} ms" for key in ("p50", "p99", "worst"))
        yield what, who + note, f"{late}; {found['seconds']:.2f} s"


def lags(bench: Bench) -> Iterator[Row]:
    crowds = (1, 10, 100) if bench.quick else (1, 10, 100, 300, 1000)
    noise = bench.noise(5, 1_000_000)
    cases: list[tuple[str, int | None, list[str]]] = [("memory", None, noise), ("aiofiles", None, noise)]
    cases.append(("memory", 6, [bench.text(512 * KIB)]))
    for reading, level, paths in cases:
        method = "stored, 5 x 1 MB" if level is None else f"deflate {level}, 512 KiB"
        for streams in crowds:
            for who in ("ours", "stream-zip", "zipFly64"):
                limit = LIMIT if who == "ours" or reading == "memory" else PEER_LIMIT
                found = bench.job(who, "lag", limit, paths=paths, streams=streams, reading=reading, level=level)
                yield f"{streams:,} streams, {method}, async generators ({reading})", who, _said_of_lag(found)


def _said_of_lag(found: dict[str, Any] | str) -> str:
    if isinstance(found, str):
        return found
    late = ", ".join(f"{key} {found[key] * 1000:.1f}" for key in ("p50", "p99", "worst") if key in found)
    rate = found["read"] / found["seconds"] / 1e6
    return f"late by {late or '?'} ms; {rate:,.0f} MB/s; {found['grown'] / KIB:,.0f} KiB for each stream"


def small_chunks(bench: Bench) -> Iterator[Row]:
    count = 20_000
    for who in ("ours", "ours-plain", "stream-zip"):
        for level in (None, 6):
            method = "stored" if level is None else f"deflate {level}"
            found = bench.job(who, "small_chunks", count=count, size=KIB, level=level, runs=bench.runs)
            yield f"{count:,} chunks of 1 KiB, {method}: time, async ÷ sync", who, _both(found, None)


def throughput(bench: Bench) -> Iterator[Row]:
    size, count = (8 if bench.quick else 64) * MIB, 8
    for who in ("ours", "ours-plain"):
        found = bench.job(who, "files", paths=bench.noise(count, size), level=None, runs=bench.runs)
        yield f"{count} files of {size // MIB} MiB, stored: throughput, async ÷ sync", who, _both(found, count * size)
        found = bench.job(who, "files", paths=[bench.text(size)], level=6, runs=bench.runs)
        yield f"a file of {size // MIB} MiB, deflate 6: throughput, async ÷ sync", who, _both(found, size)
    for level, paths in ((None, bench.noise(count, size)), (6, [bench.text(size)])):
        method = "stored" if level is None else f"deflate {level}"
        for who in ("ours", "stream-zip", "zipFly64"):
            note = " (level 5, its only one)" if who == "zipFly64" and level else ""
            found = bench.job(who, "lag", paths=paths, streams=1, reading=AIOFILES, level=level)
            rate = found if isinstance(found, str) else f"{found['read'] / found['seconds'] / 1e6:,.0f} MB/s"
            yield f"{len(paths)} of {size // MIB} MiB, {method}, async generators ({AIOFILES})", who + note, rate


def _both(found: dict[str, Any] | str, size: int | None) -> str:
    if isinstance(found, str):
        return found
    asynchronous, other = found["async"], found["sync"]
    if size is None:
        return f"**{asynchronous / other:.2f}** ({asynchronous * 1000:.0f} ms, {other * 1000:.0f} ms)"
    rates = ", ".join(f"{size / seconds / 1e6:,.0f} MB/s" for seconds in (asynchronous, other))
    return f"**{other / asynchronous:.2f}** ({rates})"


def prefetching(bench: Bench) -> Iterator[Row]:
    count = 50 if bench.quick else 300
    alone = None
    for prefetch in (0, 16):
        what = f"{count} sources of {LATENCY * 1000:.0f} ms latency and 10 KiB, prefetch={prefetch}"
        found = bench.job("ours", "latency", count=count, seconds=LATENCY, size=10 * KIB, prefetch=prefetch)
        if isinstance(found, str):
            yield what, "ours", found
            continue
        alone = alone or found["seconds"]
        yield what, "ours", f"{found['seconds']:.2f} s, **x{alone / found['seconds']:.1f}**; {found['most']} at a time"


PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "downloads": downloads,
    "heartbeats": heartbeats,
    "lags": lags,
    "small-chunks": small_chunks,
    "throughput": throughput,
    "prefetching": prefetching,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}.crowd", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all of them)")
    parser.add_argument("--runs", type=int, default=5, help="where times are compared; the median counts (default: 5)")
    parser.add_argument("--quick", action="store_true", help="less of everything, for trying out")
    parser.add_argument("--cache", type=Path, default=cache_folder(), metavar="DIR", help="default: %(default)s")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    bench = Bench(arguments.cache, arguments.quick, 1 if arguments.quick else arguments.runs)
    rows = [row for part in arguments.parts or PARTS for row in PARTS[part](bench)]
    print(table(["", "who", "figures"], rows))


if __name__ == "__main__":
    main()
