"""One run, in a process and an environment of its own: `python -m tests.benchmarks.worker JOB`, where JOB is JSON.

Prints one line of JSON. The clock runs around the streaming alone: data is there, modules are imported.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from tests.benchmarks import workloads
from tests.benchmarks.peers import LIMIT, OURS, PEERS, PLAIN, Contender
from tests.benchmarks.workloads import BLOCK, Source, Work

EVERYBODY = {contender.name: contender for contender in (OURS, PLAIN, LIMIT, *PEERS)}
# Of a million members, each hundredth is read.
_READ_ALL = 100_000
# Seconds under which the system's own count of busy time is too coarse.
_TELLING = 0.1
_PROBE, _QUIET = 0.5, 0.1


@dataclass(frozen=True)
class Run:
    """What was measured. Seconds, of the wall and of all cores; bytes; `peak` is memory over that before the run.

    `others` is how many cores everything else on the machine kept busy meanwhile, None where that cannot be told.
    """

    seconds: float
    cpu: float
    others: float | None
    peak: int
    written: int
    chunks: int
    largest: int


def measure(contender: Contender, work: Work, sources: list[Source]) -> Run:
    """Stream once, counting."""
    gc.collect()
    before = reset_peak()
    count = total = largest = 0
    busy = busy_seconds()
    cpu, wall = time.process_time(), time.perf_counter()
    for chunk in contender.chunks(work, sources):
        size = len(chunk)
        count += 1
        total += size
        if size > largest:
            largest = size
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Run(wall, cpu, others(busy, wall, cpu), peak() - before, total, count, largest)


def warm_up(contender: Contender, work: Work, sources: list[Source]) -> None:
    """Stream a little, so that everything is imported."""
    little = replace(work, count=2)
    if work.shape == "tree":
        little = replace(little, shape="members", dated=True)
    elif sources:
        data = next(sources[0].chunks(BLOCK))[: BLOCK // 2]
        sources = [Source("warm", len(data), zlib.crc32(data), None, [data])]
    for _ in contender.chunks(little, sources):
        pass


def check(contender: Contender, work: Work, sources: list[Source], folder: Path) -> dict[str, Any]:
    """Stream into a file, and have the standard library judge it: how long it is, and what is wrong with it."""
    with tempfile.TemporaryFile(dir=folder) as file:
        for chunk in contender.chunks(work, sources):
            file.write(chunk)
        written = file.tell()
        try:
            with zipfile.ZipFile(file) as archive:
                return {"written": written, "wrong": _wrong(archive, work)}
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as exc:
            return {"written": written, "wrong": repr(exc)}


def _wrong(archive: zipfile.ZipFile, work: Work) -> str | None:
    infos = archive.infolist()
    if len(set(archive.namelist())) != work.count:
        return f"{len(infos)} members instead of {work.count}"
    if sum(info.file_size for info in infos) != work.total:
        return f"{sum(info.file_size for info in infos)} bytes of data instead of {work.total}"
    for info in infos if len(infos) < _READ_ALL else infos[::100]:
        with archive.open(info) as member:
            while member.read(BLOCK):  # up to the end, where the CRC-32 is compared
                pass
    return None


def versions() -> dict[str, str]:
    """What is installed here."""
    found = {each.metadata["Name"]: each.version for each in distributions()}
    found["zlib"] = zlib.ZLIB_RUNTIME_VERSION
    return {name: version for name, version in sorted(found.items()) if name not in ("pip", "setuptools", "wheel")}


def busy_seconds() -> float | None:
    """Seconds that all cores together have been busy so far, where the system tells (Linux)."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(number) for number in file.readline().split()[1:9]]
    except (OSError, ValueError):
        return None
    idle, waiting = ticks[3:5]
    return (sum(ticks) - idle - waiting) / os.sysconf("SC_CLK_TCK")


def others(before: float | None, wall: float, own: float) -> float | None:
    """Cores that were busy with something else than what took `own` seconds of theirs."""
    now = busy_seconds()
    if before is None or now is None or wall < _TELLING:
        return None
    return max(0.0, (now - before - own) / wall)


def wait_for_quiet(seconds: float) -> None:
    """Wait until next to nothing else runs on this machine, for so long at most."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        before = busy_seconds()
        time.sleep(_PROBE)
        found = others(before, _PROBE, 0)
        if found is None or found < _QUIET:
            return


def _status(key: str) -> int:
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(key))


def reset_peak() -> int:
    """Bytes of memory now; forgets the peak so far, where the system can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        return _status("VmRSS:")
    except OSError:
        return peak()


def peak() -> int:
    try:
        return _status("VmHWM:")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _sources(contender: Contender, work: Work, folder: Path) -> Iterator[Source]:
    if work.shape != "members":
        yield from workloads.sources(work, folder, contender.wants_checksums and work.level is None)


def main(text: str) -> dict[str, Any]:
    job = json.loads(text)
    if job["task"] == "versions":
        return versions()
    contender, work = EVERYBODY[job["contender"]], Work(**job["work"])
    folder = Path(job["folder"])
    sources = list(_sources(contender, work, folder))
    if job["task"] == "check":
        return check(contender, work, sources, folder)
    warm_up(contender, work, sources)
    return asdict(measure(contender, work, sources))


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
