"""Which engine and level stands for which level of zlib: `python -m tests.benchmarks.levels`.

Every engine that is installed compresses every corpus at every level of its own, as the package does it: in blocks,
each with the 32 KiB before it as its dictionary. What that gives is held against zlib's plain stream, which is what
other programs write. With `--whole`, each block is a member of its own, for zlib as well; libdeflate takes part then.
An engine's level may stand for a level of zlib if it is at most `--limit` per cent larger on each corpus by itself (or,
judged less strictly, on each class as a whole); of those that may, the fastest is chosen.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from tests.benchmarks.corpora import CORPORA, KINDS, Corpus, from_files

MIB = 1 << 20
WINDOW = 1 << 15
MODULES = {"zlib": "zlib", "zlib-ng": "zlib_ng.zlib_ng", "isal": "isal.isal_zlib", "libdeflate": "deflate"}
ENGINE_LEVELS = {"zlib": range(1, 10), "zlib-ng": range(1, 10), "isal": range(4), "libdeflate": range(1, 10)}
DEFAULT_MEMORY = 8
_END = {False: zlib.Z_SYNC_FLUSH, True: zlib.Z_FINISH}


class Setup(NamedTuple):
    """An engine, a level of its own, and its memLevel."""

    engine: str
    level: int
    memory: int = DEFAULT_MEMORY

    def __str__(self) -> str:
        return f"{self.engine} {self.level}" + (f" m{self.memory}" if self.memory != DEFAULT_MEMORY else "")


class Job(NamedTuple):
    """A block, the data before it as far as deflate looks back, and whether it is the last."""

    data: bytes
    before: bytes
    last: bool


def installed() -> dict[str, ModuleType]:
    found = {}
    for engine, name in MODULES.items():
        with suppress(ImportError):
            found[engine] = importlib.import_module(name)
    return found


ENGINES = installed()


def package_block() -> int:
    """The size of the package's own blocks."""
    try:
        from zipstream_adapter._compression.block_deflate import BLOCK
    except ImportError:
        return MIB
    return BLOCK


def cut(data: bytes, size: int, whole: bool = False) -> list[Job]:
    starts = range(0, len(data), size)
    if whole:
        return [Job(data[at : at + size], b"", True) for at in starts]
    return [Job(data[at : at + size], data[max(0, at - WINDOW) : at], at + size >= len(data)) for at in starts]


def deflate(setup: Setup, job: Job) -> bytes:
    """One block of a raw deflate stream, as `zipstream_adapter._compression.engines` makes it."""
    module = ENGINES[setup.engine]
    if setup.engine == "libdeflate":
        return bytes(module.deflate_compress(job.data, setup.level))
    known = {"zdict": job.before} if job.before else {}
    compressor = module.compressobj(setup.level, zlib.DEFLATED, -zlib.MAX_WBITS, setup.memory, **known)
    parts: list[bytes] = [compressor.compress(job.data), compressor.flush(_END[job.last])]
    return b"".join(parts)


def plain(setup: Setup, data: bytes) -> bytes:
    """`data` as one stream, without blocks."""
    return deflate(setup, Job(data, b"", True))


def check(data: bytes, deflated: bytes) -> None:
    """The standard zlib must read back what went in, to the last bit."""
    reader = zlib.decompressobj(-zlib.MAX_WBITS)
    if reader.decompress(deflated) + reader.flush() != data or not reader.eof or reader.unused_data:
        raise AssertionError("what was deflated is not what went in")


class Result(NamedTuple):
    """What became of one corpus: bytes, and seconds of CPU time, the best of some."""

    size: int
    seconds: float


def measure(setup: Setup, data: bytes, block: int, repeats: int, whole: bool) -> Result:
    jobs = cut(data, block, whole)
    best = float("inf")
    deflated: list[bytes] = []
    for _ in range(repeats):
        start = time.thread_time()
        deflated = [deflate(setup, job) for job in jobs]
        best = min(best, time.thread_time() - start)
    joined = b"".join(deflated)
    for whole_data, made in zip([job.data for job in jobs], deflated, strict=True) if whole else [(data, joined)]:
        check(whole_data, made)
    return Result(len(joined), best)


class Table:
    """All results: of every setup on every corpus, beside zlib's plain sizes.

    Args:
        data: the corpora's bytes.
        levels: levels of zlib to stand for.
        whole: bytes of each member, if the corpora are cut into members; else 0.
    """

    def __init__(self, data: dict[Corpus, bytes], levels: Sequence[int], whole: int = 0) -> None:
        self.data = data
        self._whole = whole
        self.levels = levels
        self.results: dict[Setup, dict[Corpus, Result]] = {}
        self._plain: dict[tuple[Corpus, int], int] = {}

    def add(self, setup: Setup, block: int, repeats: int) -> None:
        self.results[setup] = {
            corpus: measure(setup, data, block, repeats, bool(self._whole)) for corpus, data in self.data.items()
        }

    def plain_size(self, corpus: Corpus, level: int) -> int:
        """What zlib makes of it at `level`, as one stream, or one for each member."""
        key = (corpus, level)
        if key not in self._plain:
            data = self.data[corpus]
            jobs = cut(data, self._whole or len(data), True)
            self._plain[key] = sum(len(plain(Setup("zlib", level), job.data)) for job in jobs)
        return self._plain[key]

    def excess(self, setup: Setup, corpus: Corpus, level: int) -> float:
        """Per cent by which it is larger than zlib's at `level`."""
        return (self.results[setup][corpus].size / self.plain_size(corpus, level) - 1) * 100

    def excesses(self, setup: Setup, level: int, kind: str | None = None) -> list[tuple[float, str]]:
        """(excess, corpus) on each corpus, or each of one kind: the worst first."""
        found = [
            (self.excess(setup, corpus, level), corpus.name) for corpus in self.data if kind in (None, corpus.kind)
        ]
        return sorted(found, reverse=True)

    def speed(self, setup: Setup, kind: str | None = None) -> float:
        """Megabytes per second, over all corpora or those of one kind."""
        chosen = [corpus for corpus in self.data if kind in (None, corpus.kind)]
        seconds = sum(self.results[setup][corpus].seconds for corpus in chosen)
        return sum(len(self.data[corpus]) for corpus in chosen) / seconds / 1e6

    def class_excess(self, setup: Setup, level: int, kind: str) -> float:
        """Per cent by which all corpora of a class together are larger than zlib's at `level`."""
        chosen = [corpus for corpus in self.data if corpus.kind == kind]
        sizes = sum(self.results[setup][corpus].size for corpus in chosen)
        return (sizes / sum(self.plain_size(corpus, level) for corpus in chosen) - 1) * 100

    def worst(self, setup: Setup, level: int, whole: bool) -> float:
        """The largest excess: of a corpus, or of a class as a `whole`."""
        if whole:
            return max(self.class_excess(setup, level, kind) for kind in self.kinds)
        return self.excesses(setup, level)[0][0]

    @property
    def kinds(self) -> list[str]:
        return [kind for kind in KINDS if any(corpus.kind == kind for corpus in self.data)]

    def ranking(self) -> list[Setup]:
        """The setups that the package can choose, the fastest first."""
        return sorted((each for each in self.results if each.memory == DEFAULT_MEMORY), key=self.speed, reverse=True)

    def choose(self, level: int, limit: float, whole: bool) -> list[Setup]:
        """What may stand for `level`: the fastest of each engine, the fastest first, down to zlib, always there.

        zlib at the level itself may, whatever the blocks make of it.
        """
        best: dict[str, Setup] = {}
        for setup in self.ranking():
            if self.worst(setup, level, whole) <= limit or setup == ("zlib", level, DEFAULT_MEMORY):
                best.setdefault(setup.engine, setup)
                if setup.engine == "zlib":
                    break
        return list(best.values())


def print_kind(table: Table, kind: str) -> None:
    """Speed and excess of every setup, in per cent of zlib's plain size at each level: worst corpus / mean."""
    print(f"\n{kind}: MB/s, and per cent larger than zlib at that level (worst corpus/mean)")
    print(f"{'':13}{'MB/s':>6}" + "".join(f"{level:>12}" for level in table.levels))
    for setup in sorted(table.results):
        cells = []
        for level in table.levels:
            values = [value for value, _ in table.excesses(setup, level, kind)]
            cells.append(f"{values[0]:+.1f}/{sum(values) / len(values):+.1f}")
        print(f"{setup!s:13}{table.speed(setup, kind):6.0f}" + "".join(f"{cell:>12}" for cell in cells))


def print_choices(table: Table, limit: float, whole: bool) -> None:
    """What stands for each level, as a literal: of each line the first that is installed. Then their worst cases."""
    chosen = {level: table.choose(level, limit, whole) for level in table.levels}
    print(f"\nat most {limit:g} % larger on each {'class as a whole' if whole else 'corpus'}: the fastest first")
    print("_AUTO = {")
    for level, setups in chosen.items():
        print(f"    {level}: ({' '.join(f'({each.engine!r}, {each.level}),' for each in setups)}),")
    print("}")
    for level, setups in chosen.items():
        for setup in setups:
            print(f"  {level} by {setup!s:10} {table.speed(setup):4.0f} MB/s  {worst_cases(table, setup, level)}")


def worst_cases(table: Table, setup: Setup, level: int) -> str:
    """By class: the excess on the whole of it, and on its worst corpus."""
    parts = []
    for kind in table.kinds:
        value, name = table.excesses(setup, level, kind)[0]
        parts.append(f"{kind} {table.class_excess(setup, level, kind):+.2f}, {name} {value:+.2f}")
    return "; ".join(parts)


def print_misses(table: Table, limit: float) -> None:
    """What is faster than the chosen one and why it was not taken: the corpora it breaks on."""
    print(f"\nfaster, but more than {limit:g} % larger: the nearest three, number of corpora, the worst four of them")
    for level in table.levels:
        chosen = table.choose(level, limit, whole=False)[0]
        ranking = table.ranking()
        faster = ranking[: ranking.index(chosen)]
        for setup in sorted(faster, key=lambda each: table.excesses(each, level)[0])[:3]:
            broken = [(value, name) for value, name in table.excesses(setup, level) if value > limit]
            shown = ", ".join(f"{name} {value:+.2f}" for value, name in broken[:4])
            print(f"  {level} (is {chosen}): {setup!s:10} {table.speed(setup):4.0f} MB/s, {len(broken):2}: {shown}")


def print_memory(table: Table) -> None:
    """What memLevel 9 changes against 8."""
    print("\nmemLevel 9 against 8: size in per cent (mean, largest gain, largest loss), speed")
    for setup in sorted(table.results):
        other = setup._replace(memory=9)
        if setup.memory == 9 or other not in table.results:
            continue
        sizes = [(table.results[other][c].size / table.results[setup][c].size - 1) * 100 for c in table.data]
        speed = table.speed(other) / table.speed(setup)
        mean = sum(sizes) / len(sizes)
        print(f"{setup!s:13}{mean:+.2f} {min(sizes):+.2f} {max(sizes):+.2f}  x{speed:.2f}")


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.levels", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument(
        "--block", type=int, default=package_block() >> 10, help="KiB per block (the package's: %(default)s)"
    )
    parser.add_argument("--size", type=float, default=6, help="MiB of each corpus (%(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many is taken (%(default)s)")
    parser.add_argument("--levels", type=int, nargs="+", default=range(1, 10), help="levels of zlib (1 to 9)")
    parser.add_argument("--limit", type=float, default=1.0, help="per cent that is allowed (%(default)s)")
    parser.add_argument("--memory", action="store_true", help="measure memLevel 9, too")
    parser.add_argument("--whole", action="store_true", help="each block is a member of its own")
    parser.add_argument("--only", nargs="+", help="corpora to take")
    parser.add_argument(
        "--also", nargs="+", default=[], metavar="KIND=PATH", help="files or directories as more corpora"
    )
    parser.add_argument("--quick", action="store_true", help="1 MiB of each, once: a trial")
    options = parser.parse_args(argv)
    if options.quick:
        options.size, options.repeats = 1, 1
    return options


def make_data(options: argparse.Namespace) -> dict[Corpus, bytes]:
    """The corpora that are there, and those that were asked for besides."""
    also = [from_files(kind, Path(path)) for kind, _, path in (each.partition("=") for each in options.also)]
    chosen = [each for each in (*CORPORA, *also) if not options.only or each.name in options.only]
    made = {corpus: corpus.make(int(options.size * MIB)) for corpus in chosen}
    for corpus in [corpus for corpus, data in made.items() if not data]:
        print(f"{corpus.name}: not there, or too little of it", file=sys.stderr)
    return {corpus: data for corpus, data in made.items() if data}


def main(argv: Sequence[str] | None = None) -> None:
    options = arguments(argv)
    table = Table(make_data(options), options.levels, options.block << 10 if options.whole else 0)
    memories = (DEFAULT_MEMORY, 9) if options.memory else (DEFAULT_MEMORY,)
    setups = [Setup(name, level, m) for m in memories for name in ENGINES for level in ENGINE_LEVELS[name]]
    setups = [setup for setup in setups if options.whole or setup.engine != "libdeflate"]
    for setup in setups:
        table.add(setup, options.block << 10, options.repeats)
        print(f"{setup}: {table.speed(setup):.0f} MB/s", file=sys.stderr)
    for kind in table.kinds:
        print_kind(table, kind)
    for whole in (False, True):
        print_choices(table, options.limit, whole)
    print_misses(table, options.limit)
    if options.memory:
        print_memory(table)


if __name__ == "__main__":
    main()
