"""Archives read over HTTP: requests, bytes and seconds, beside what others need for the same.

    python -m tests.benchmarks.remote [--latency 0.05] [--rate MB/s] [--cache DIRECTORY]

Each contender has an environment and a process of its own, and all read from one small server, which takes `--latency`
seconds before it answers, gives each connection `--rate` (default: what it can), and counts. A job ends after 12 s.
All of it takes about 5 minutes. In random order, ours uses `read_members`, but with window=1 one member after another;
boto3 fetches the whole object. "sent / read" counts the central directory, too (1 MiB of 20,000 members).
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.environments import CHECKOUT, cache_folder, make
from tests.support.remote_archives import MIB, archive_of
from tests.support.remote_servers import serving

WORKER = Path(__file__).with_name("remote_worker.py")
LARGE = (11 * MIB, 40 * MIB, 12 * MIB)
MANY = 20_000
SECONDS = 12
NEEDS = {
    "ours, window=4": (".[s3]",),
    "ours, window=1": (".[s3]",),
    "fsspec http": ("fsspec", "aiohttp"),
    "fsspec http, no cache": ("fsspec", "aiohttp"),
    "s3fs": ("s3fs",),
    "remotezip": ("remotezip",),
    "smart_open": ("smart_open[s3]",),
    "boto3": ("boto3",),
}
JOBS = (
    ("open and list, 3 members of 63 MiB", "large", "list"),
    ("open, and the first 64 KiB of its member of 40 MiB", "large", "first"),
    ("its member of 40 MiB", "large", "1.bin"),
    ("open and list, 20,000 members of 2 KiB", "many", "list"),
    ("read them all, in order", "many", "all"),
    ("read 1,000 of them in random order", "many", "random"),
)
# Members that a job reads.
EXPECTED = {"all": MANY, "random": 1000}


class Served:
    """The server, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.url = self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def count(self) -> dict[str, int]:
        """What there was since the last count."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        counted: dict[str, int] = json.loads(self._line())
        return counted


@contextmanager
def served(latency: float, rate: float) -> Iterator[Served]:
    """A server in a process of its own, until the block ends."""
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.remote",
        "--serve",
        "--latency",
        str(latency),
        "--rate",
        str(rate),
    ]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Served(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


def serve(latency: float, rate: float) -> None:
    """Serve until standard input ends; each line of it asks for a count."""
    sizes = random.Random(1)
    many = archive_of(tuple(sizes.randrange(1024, 3072) for _ in range(MANY)))
    data: dict[str, Any] = {"large": archive_of(LARGE), "many": many, "warm": archive_of((100,))}
    with serving(**{f"bucket/{name}": value for name, value in data.items()}) as objects:
        objects.latency, objects.rate = latency, rate * 1e6
        print(objects.url, flush=True)
        for _ in sys.stdin:
            print(json.dumps({"requests": len(objects.asked), "bytes": objects.sent}), flush=True)
            objects.forget()


def measure(python: Path, contender: str, name: str, job: str, server: Served) -> dict[str, Any]:
    """One contender's turn at one job."""
    command = [str(python), "-I", str(WORKER), contender, job, f"{server.url}bucket/{name}", str(SECONDS)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tempfile.gettempdir(),
    ) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        server.count()
        said, errors = process.communicate("\n", timeout=SECONDS * 3)
        if not ready or process.returncode:
            return {"failed": (errors.strip().splitlines() or ["?"])[-1]}
    return {**json.loads(said), **{f"sent {key}": value for key, value in server.count().items()}}


def row(contender: str, found: dict[str, Any], job: str) -> str:
    if "failed" in found:
        return f"| {contender} | failed: {found['failed'][:80]} | | | |"
    cut = f", cut at {found['members']:,} members" if found["members"] < EXPECTED.get(job, 0) else ""
    ratio = f"{found['sent bytes'] / found['bytes']:.2f}" if found["bytes"] else ""
    return (
        f"| {contender} | {found['sent requests']:,}{cut} | {found['sent bytes'] / MIB:,.2f} | {ratio} | "
        f"{found['seconds']:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--cache", type=Path, default=None)
    parser.add_argument("--serve", action="store_true")
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.latency, arguments.rate)
        return
    cache = arguments.cache or cache_folder()
    pythons = {contender: make(cache, needs, fresh=False) for contender, needs in NEEDS.items()}
    print(f"latency {arguments.latency} s, rate of a connection {arguments.rate or 'any'} MB/s")
    with served(arguments.latency, arguments.rate) as server:
        for title, name, job in JOBS:
            print(f"\n{title}\n\n| reader | requests | MiB sent | sent / read | seconds |\n|---|---:|---:|---:|---:|")
            for contender, python in pythons.items():
                print(row(contender, measure(python, contender, name, job, server), job), flush=True)


if __name__ == "__main__":
    main()
