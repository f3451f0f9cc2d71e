"""How time and memory grow with the archive: 1,000 to 1,000,000 members, and a member of 1 MiB to 1 TiB.

    python -m tests.benchmarks.growth [--members] [--bytes] [--long]

Each point is measured in a process of its own. Members are Entries of 20 bytes; the large member repeats one block, so
that nothing but the archive takes memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import repeat

from tests.benchmarks.environments import CHECKOUT
from tests.benchmarks.report import progress, table
from tests.benchmarks.worker import peak, reset_peak
from tests.benchmarks.workloads import MIB

NAME = "growth"
MEMBERS = [10**3, 10**4, 10**5, 10**6]
SIZES = [MIB << shift for shift in range(0, 17, 4)]  # 1 MiB to 64 GiB
LONG = [MIB << 20]  # 1 TiB: minutes
# Streams for at least so many seconds of CPU time, again and again: the shortest take milliseconds.
_LEAST = 0.3


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes:
        kind: "members" or "bytes".
        count: members, or bytes of data.
        seconds: CPU time of the fastest stream.
        peak: memory of the process at its peak, in bytes, beyond that before the stream.
    """

    kind: str
    count: int
    seconds: float
    peak: int

    @property
    def each(self) -> float:
        """Nanoseconds per member, or per KiB."""
        return self.seconds * 1e9 / (self.count if self.kind == "members" else self.count / 1024)


def stream(kind: str, count: int) -> Iterator[bytes]:
    from zipstream_adapter import Entry, stream_zip

    if kind == "members":
        date, data = datetime(2024, 1, 2, 3, 4, 6, tzinfo=UTC), bytes(range(20))
        entries = (Entry(f"dir{at // 1000}/file{at}.txt", data, modified=date) for at in range(count))
        return stream_zip(entries, compression="stored")
    return stream_zip([("large", repeat(bytes(MIB), count // MIB))], compression="stored")


def measure(kind: str, count: int) -> Point:
    """Measure in this process."""
    for _ in stream(kind, MIB if kind == "bytes" else 10):
        pass
    before, best, total = reset_peak(), float("inf"), 0.0
    while total < _LEAST:
        begun = time.process_time()
        for _ in stream(kind, count):
            pass
        taken = time.process_time() - begun
        best, total = min(best, taken), total + taken
    return Point(kind, count, best, max(0, peak() - before))


def points(kinds: list[str], long: bool = False) -> list[Point]:
    """Measure each point in a process of its own."""
    wanted = [("members", count) for count in MEMBERS] + [("bytes", size) for size in SIZES + (LONG if long else [])]
    found = []
    for kind, count in wanted:
        if kind not in kinds:
            continue
        command = [sys.executable, "-m", "tests.benchmarks.growth", "--one", kind]
        done = subprocess.run([*command, str(count)], cwd=CHECKOUT, capture_output=True, text=True, check=True)
        found.append(Point(**json.loads(done.stdout)))
        progress(f"{NAME}: {count:,} {kind}: {found[-1].seconds:.3f} s")
    return found


def details(found: list[Point]) -> str:
    """Return the points as a table."""
    rows = []
    for point in found:
        unit = "member" if point.kind == "members" else "KiB"
        memory = f"{point.peak / MIB:,.1f}"
        share = f"{point.peak / point.count:,.0f}" if point.kind == "members" else ""
        rows.append([f"{point.count:,} {point.kind}", f"{point.each:,.1f} ns per {unit}", memory, share])
    head = ["", "CPU time", "peak MiB", "bytes of memory per member"]
    return f"### {NAME}\n\nStored; CPU time of the fastest stream.\n\n{table(head, rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", action="store_true", help="only these")
    parser.add_argument("--bytes", action="store_true", help="only these")
    parser.add_argument("--long", action="store_true", help="up to 1 TiB, which takes minutes")
    parser.add_argument("--one", nargs=2, metavar=("KIND", "COUNT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(asdict(measure(arguments.one[0], int(arguments.one[1])))))
        return
    kinds = [kind for kind in ("members", "bytes") if getattr(arguments, kind)]
    print(details(points(kinds or ["members", "bytes"], arguments.long)))


if __name__ == "__main__":
    main()
