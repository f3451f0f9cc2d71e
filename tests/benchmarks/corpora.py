"""Data to measure compressors on: three classes, several corpora each, from what every Python brings along.

Nothing is downloaded: sources, docstrings, headers and binaries are this Python's own, the rest is generated from
fixed seeds. On one machine the same name and size always give the same bytes.
"""

from __future__ import annotations

import marshal
import math
import random
import struct
import sys
import sysconfig
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tests.benchmarks import structured
from tests.benchmarks.wording import docstrings, followers, library, paragraphs

TEXT, BINARY, STRUCTURED = KINDS = ("text", "binary", "structured")
# Deflate looks 32 KiB back: what is shorter than this and repeated to fill a size would match its own copy.
LEAST = 1 << 16


@dataclass(frozen=True)
class Corpus:
    """A named maker of bytes: `make(size)` gives exactly `size` of them, or none where this Python lacks the origin."""

    kind: str
    name: str
    pieces: Callable[[], Iterator[bytes]]

    def make(self, size: int) -> bytes:
        """Pieces until `size` is full; those that end earlier are gone through again."""
        held = bytearray()
        while len(held) < size:
            before = len(held)
            for piece in self.pieces():
                held += piece
                if len(held) >= size:
                    break
            if len(held) - before < min(LEAST, size - before):
                return b""
        return bytes(held[:size])


def from_files(kind: str, path: Path) -> Corpus:
    """A corpus of a file, or of all files below a directory, in the order of their names."""

    def pieces() -> Iterator[bytes]:
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        return (file.read_bytes() for file in files)

    return Corpus(kind, path.name, pieces)


def python_source() -> Iterator[bytes]:
    return (path.read_bytes() for path in library())


def c_headers() -> Iterator[bytes]:
    return (path.read_bytes() for path in sorted(Path(sysconfig.get_path("include")).rglob("*.h")))


def documentation() -> Iterator[bytes]:
    """The language reference as `help()` shows it, licences, and the library's docstrings."""
    from pydoc_data import topics

    table: dict[str, str] = vars(topics)["topics"]
    yield from (table[name].encode() for name in sorted(table))
    yield from (text.encode() + b"\n\n" for text in docstrings())


def prose() -> Iterator[bytes]:
    """Running text in lines of one width: harder to compress than anything that was written for machines."""
    import textwrap

    return (textwrap.fill(text, 72).encode() + b"\n\n" for text in paragraphs(1))


def prose_cyrillic() -> Iterator[bytes]:
    """The same statistics in an alphabet of two bytes per letter."""
    small = dict(zip("abcdefghijklmnopqrstuvwxyz", "абцдефгхийклмнопярстужвшыз", strict=True))
    letters = str.maketrans(small | {latin.upper(): other.upper() for latin, other in small.items()})
    return (text.translate(letters).encode() + b"\n\n" for text in paragraphs(2))


def markdown() -> Iterator[bytes]:
    rng = random.Random(3)
    texts, code = paragraphs(3), _code_samples()
    for number in count(1):
        yield f"## {number}. {next(texts)[:30]}\n\n{next(texts)}\n\n".encode()
        if rng.random() < 0.5:
            yield b"".join(b"- [`%s`](#%s): %s\n" % (w, w.lower(), t) for w, t in _items(rng, texts)) + b"\n"
        if rng.random() < 0.3:
            yield f"```python\n{next(code)}\n```\n\n".encode()


def _items(rng: random.Random, texts: Iterator[str]) -> list[tuple[bytes, bytes]]:
    lines = [next(texts) for _ in range(rng.randint(3, 8))]
    return [(line.split()[0].encode(), line[:80].encode()) for line in lines]


def _code_samples() -> Iterator[str]:
    while True:
        for path in library():
            lines = path.read_text("utf-8", "replace").splitlines()
            if len(lines) > 60:
                yield "\n".join(lines[40:60])


def html() -> Iterator[bytes]:
    rng = random.Random(4)
    texts = paragraphs(4)
    for page in count(1):
        title = next(texts)[:40]
        links = "".join(f'<li class="nav-item"><a href="/docs/{i}/">Part {i}</a></li>\n' for i in range(12))
        yield (
            f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>\n'
            f'<link rel="stylesheet" href="/static/{rng.getrandbits(64):016x}/site.css"></head>\n<body>\n'
            f'<nav class="sidebar"><ul>{links}</ul></nav>\n<main id="page-{page}">\n'
        ).encode()
        for part in range(rng.randint(4, 15)):
            quoted = next(texts).replace("'", "&#39;")
            yield f'  <section class="text"><h2 id="s{part}">{next(texts)[:25]}</h2>\n    <p>{quoted}</p>\n'.encode()
            yield f'    <img src="/img/{rng.getrandbits(32):08x}.jpg" alt="" width="640"></section>\n'.encode()
        yield b"</main>\n<footer><p>&copy; <a href='/imprint'>Imprint</a></p></footer>\n</body>\n</html>\n"


def _machine_code() -> list[Path]:
    """The interpreter, its shared library and its extension modules."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    library = Path(sysconfig.get_config_var("LIBDIR") or "") / str(sysconfig.get_config_var("LDLIBRARY"))
    near = Path(sys.base_exec_prefix)
    windows = [*near.glob("*.dll"), *near.glob("DLLs/*.pyd")]
    modules = [*stdlib.glob("lib-dynload/*.so"), *windows]
    shared = [library.resolve()] if library.suffix in {".so", ".dylib"} and library.is_file() else []
    return [*shared, Path(sys.executable).resolve(), *sorted(modules)]


def executables() -> Iterator[bytes]:
    return (path.read_bytes() for path in _machine_code())


def extension_modules() -> Iterator[bytes]:
    """Many small shared objects, their symbol tables and padding weighing more than their code."""
    return (path.read_bytes() for path in sorted(_machine_code(), key=lambda path: path.stat().st_size)[:-4])


def bytecode() -> Iterator[bytes]:
    for path in library():
        try:
            code = compile(path.read_bytes(), path.name, "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            continue
        yield marshal.dumps(code)


def doubles() -> Iterator[bytes]:
    """A random walk of 64-bit floats, rounded as measured values are."""
    rng = random.Random(10)
    value = 100.0
    while True:
        row = array("d")
        for _ in range(4096):
            value += rng.gauss(0, 0.5)
            row.append(round(value, 2))
        yield row.tobytes()


def floats() -> Iterator[bytes]:
    """Points of a mesh: three 32-bit coordinates and a normal each, at full precision."""
    rng = random.Random(11)
    for ring in count():
        row = array("f")
        for step in range(256):
            angle = step * math.tau / 256
            x, y, z = math.cos(angle), math.sin(angle), ring * 0.01 + rng.gauss(0, 0.0005)
            row.extend((x * (2 + z), y * (2 + z), z, x, y, 0.0))
        yield row.tobytes()


def records() -> Iterator[bytes]:
    """Rows of a database's page: counters, small numbers, flags, time stamps, padded names."""
    rng = random.Random(12)
    names = [word.encode()[:16] for word in sorted(followers())]
    moment = 1_700_000_000
    for number in count(1):
        moment += rng.randint(0, 90)
        name = names[int(rng.paretovariate(0.7)) % len(names)]
        yield struct.pack("<QIhBB16sd", number, moment, rng.randint(-40, 40), rng.getrandbits(2), 0, name, rng.random())


def bitmap() -> Iterator[bytes]:
    """24-bit pixels without compression: gradients with the noise of a camera, and flat drawn areas between."""
    rng = random.Random(13)
    width = 1024
    noise = [rng.gauss(0, 1.5) for _ in range(1 << 14)]
    for y in count():
        row = bytearray()
        start = rng.randrange(len(noise) - width)
        flat = (y // 96) % 3 == 2
        for x in range(width):
            if flat or (x // 128) % 5 == 4:
                row += b"\xf0\xf4\xff" if (x // 32 + y // 32) % 2 else b"\x20\x40\x60"
                continue
            light = 128 + 80 * math.sin(x / 190) * math.cos(y / 170) + noise[start + x]
            row += bytes((int(light), int(light * 0.8) + 20, int(light * 0.6) + 45))
        yield bytes(row)


def sound() -> Iterator[bytes]:
    """16-bit stereo: decaying tones over a noise floor, silence between them."""
    rng = random.Random(14)
    while True:
        pitch = 220 * 2 ** (rng.randint(0, 24) / 12) * math.tau / 44100
        row = array("h")
        for i in range(11025):
            level = 9000 * math.exp(-i / 2500)
            tone = level * (math.sin(i * pitch) + 0.4 * math.sin(2 * i * pitch)) + rng.gauss(0, 6)
            row.extend((int(tone), int(tone * 0.7)))
        yield row.tobytes() + bytes(rng.choice((0, 4096, 16384)))


def mixed() -> Iterator[bytes]:
    """Machine code with stretches between that nothing compresses, as in installers and disk images."""
    rng = random.Random(15)
    for path in _machine_code():
        data = path.read_bytes()
        for start in range(0, len(data), 1 << 18):
            yield data[start : start + (1 << 18)]
            yield rng.randbytes(rng.randint(1 << 12, 1 << 17))


MAKERS: dict[str, tuple[Callable[[], Iterator[bytes]], ...]] = {
    TEXT: (python_source, c_headers, documentation, prose, prose_cyrillic, markdown, html),
    BINARY: (executables, extension_modules, bytecode, doubles, floats, records, bitmap, sound, mixed),
    STRUCTURED: structured.MAKERS,
}
CORPORA = [Corpus(kind, make.__name__.replace("_", "-"), make) for kind, makers in MAKERS.items() for make in makers]
