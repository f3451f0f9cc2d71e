"""What engine="auto" comes to: its size and its speed against zlib's at each level, corpus by corpus.

    python -m tests.benchmarks.auto [--size MIB] [--levels 1,6,9] [--piece KIB]

Each corpus is one member; `--piece` cuts it into members of so many KiB. The tables of the package are measured by
`tests.benchmarks.levels`.
"""

from __future__ import annotations

import argparse
import time
import zlib
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import NamedTuple
from zipfile import ZIP_DEFLATED

from tests.benchmarks.corpora import CORPORA
from zipstream_adapter._compression.codecs import CodecFactory


class Measured(NamedTuple):
    """Bytes made, and CPU seconds taken, by zlib and by "auto"."""

    zlib_size: int
    zlib_time: float
    size: int
    time: float

    def __str__(self) -> str:
        return f"{self.size / self.zlib_size - 1:+8.2%} x{self.zlib_time / self.time:.2f}"


def timed(make: Callable[[], int]) -> tuple[int, float]:
    begun = time.process_time()
    return make(), time.process_time() - begun


def by_zlib(pieces: list[bytes], level: int) -> int:
    compressors = ((zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS), piece) for piece in pieces)
    return sum(len(each.compress(piece)) + len(each.flush()) for each, piece in compressors)


def by_auto(pieces: list[bytes], level: int) -> int:
    coding = CodecFactory("auto", workers=0)
    compressors = ((coding.compressor(ZIP_DEFLATED, level), piece) for piece in pieces)
    return sum(len(each.compress(piece)) + len(each.flush()) for each, piece in compressors)


def total(measured: list[Measured]) -> Measured:
    return Measured(*map(sum, zip(*measured, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=6, help="MiB of each corpus; default: 6")
    parser.add_argument("--levels", default="1,2,3,4,5,6,7,8,9")
    parser.add_argument("--piece", type=int, default=0, help="KiB of each member; default: all of a corpus")
    arguments = parser.parse_args()
    levels = [int(level) for level in arguments.levels.split(",")]
    kinds: dict[tuple[str, int], list[Measured]] = defaultdict(list)
    print("size against zlib's, and speed, single-threaded, at level", *levels)
    for corpus in CORPORA:
        data = corpus.make(int(arguments.size * (1 << 20)))
        if not data:
            continue
        row = []
        step = arguments.piece << 10 or len(data)
        pieces = [data[at : at + step] for at in range(0, len(data), step)]
        for level in levels:
            measured = Measured(*timed(partial(by_zlib, pieces, level)), *timed(partial(by_auto, pieces, level)))
            kinds[corpus.kind, level].append(measured)
            row.append(str(measured))
        print(f"{corpus.kind:10} {corpus.name:18}", *row, flush=True)
    for kind in sorted({kind for kind, _ in kinds}):
        print(f"{kind:10} {'as a whole':18}", *(total(kinds[kind, level]) for level in levels))


if __name__ == "__main__":
    main()
