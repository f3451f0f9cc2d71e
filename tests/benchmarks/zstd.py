"""What Zstandard comes to beside deflate: sizes and speeds against zlib's level 6, corpus by corpus, in one run.

    python -m tests.benchmarks.zstd [--size MIB] [--levels 1,3,9,19] [--small BYTES]

Single-threaded, as members are compressed (`workers=0`), in CPU time. Zstandard looks back so far that it would find a
corpus that is gone through again, so here each is cut where it ends.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from functools import partial
from zipfile import ZIP_DEFLATED

from tests.benchmarks.auto import Measured, by_zlib, timed, total
from tests.benchmarks.corpora import CORPORA, LEAST, Corpus
from zipstream_adapter._compression.codecs import CodecFactory
from zipstream_adapter._compression.methods import ZIP_ZSTANDARD


def once(corpus: Corpus, most: int) -> bytes:
    """Up to `most` bytes of what `corpus` has, which is not repeated."""
    if not corpus.make(LEAST):
        return b""
    held = bytearray()
    for piece in corpus.pieces():
        held += piece
        if len(held) >= most:
            break
    return bytes(held[:most])


def made(coding: CodecFactory, method: int, level: int, members: list[bytes]) -> int:
    """Bytes that `members` come to: one by one where they are long, as the short way does it where they are small."""
    code = coding.small(method, level)
    if code is not None and len(members) > 1:
        return sum(len(coded.data) for coded in code(members))
    size = 0
    for data in members:
        compressor = coding.compressor(method, level)
        size += len(compressor.compress(data)) + len(compressor.flush())
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=float, default=4, help="MiB of each corpus, at most; default: 4")
    parser.add_argument("--levels", default="-5,1,3,6,9,12", help="of Zstandard; default: %(default)s")
    parser.add_argument("--small", type=int, metavar="BYTES", help="cut into members of so many bytes")
    arguments = parser.parse_args()
    coding = CodecFactory("auto", workers=0)
    contenders = {"deflate 6": (ZIP_DEFLATED, 6)}
    contenders |= {f"zstd {level}": (ZIP_ZSTANDARD, int(level)) for level in arguments.levels.split(",")}
    kinds: dict[tuple[str, str], list[Measured]] = defaultdict(list)
    print("size against zlib's level 6, and speed:", *contenders, sep=" | ")
    for corpus in CORPORA:
        data = once(corpus, int(arguments.size * (1 << 20)))
        if not data:
            continue
        step = arguments.small or len(data)
        members = [data[at : at + step] for at in range(0, len(data), step)]
        zlibs = timed(lambda members=members: sum(by_zlib(member, 6) for member in members))  # type: ignore[misc]
        row = []
        for name, (method, level) in contenders.items():
            measured = Measured(*zlibs, *timed(partial(made, coding, method, level, members)))
            kinds[corpus.kind, name].append(measured)
            row.append(str(measured))
        print(f"{corpus.kind:10} {corpus.name:18} {len(data) / (1 << 20):4.1f} MiB", *row, flush=True)
    for kind in sorted({kind for kind, _ in kinds}):
        print(f"{kind:10} {'as a whole':18}         ", *(total(kinds[kind, name]) for name in contenders))


if __name__ == "__main__":
    main()
