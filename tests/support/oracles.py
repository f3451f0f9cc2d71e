"""Outsiders that judge archives: other programs, asked through their command lines.

Each verdict is (accepted, what it said). None of them shares a line of code with this package.
"""

from __future__ import annotations

import importlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest

from tests.support.loops import module

_JAVA = Path(__file__).parents[1] / "interop" / "ReadZip.java"
_SEVEN_ZIPS = ("7zz", "7z", "7za")
# Seconds that a program may take: gigabytes take minutes on a machine with other work.
PATIENCE_S = 1500 if os.environ.get("ZIPSTREAM_LARGE") == "1" else 250


class Verdict(NamedTuple):
    accepted: bool
    said: str

    def __bool__(self) -> bool:
        return self.accepted


def need(*programs: str) -> str:
    """The first of `programs` that is installed. Without any, the test is skipped, and in CI it fails."""
    for program in programs:
        found = shutil.which(program)
        if found:
            return found
    miss(f"none of {', '.join(programs)} is installed")


def miss(reason: str) -> NoReturn:
    """Skip the test, because a program it needs is missing. In CI it fails."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _run(command: Sequence[str | Path], stdin: bytes | None = None, seconds: float = PATIENCE_S) -> Verdict:
    # In a plain C locale, bsdtar fails on names that are not ASCII.
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=seconds, check=False, env=environment)
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    return Verdict(done.returncode == 0, said)


def unzip(archive: Path) -> Verdict:
    """Info-ZIP, by the central directory."""
    return _run([need("unzip"), "-t", archive])


def seven_zip(archive: Path) -> Verdict:
    """7-Zip, by the central directory; it also compares it with the local headers."""
    return _run([need(*_SEVEN_ZIPS), "t", archive])


def bsdtar(archive: Path) -> Verdict:
    """libarchive, from a file."""
    return _run([need("bsdtar"), "-xOf", archive])


def bsdtar_pipe(data: bytes) -> Verdict:
    """libarchive, front to back from a pipe."""
    return _run([need("bsdtar"), "-xOf", "-"], stdin=data)


def seven_zip_with(password: str, archive: Path) -> Verdict:
    """7-Zip, where members are encrypted."""
    return _run([need(*_SEVEN_ZIPS), "t", f"-p{password}", archive])


def bsdtar_with(password: str, archive: Path | bytes) -> Verdict:
    """libarchive, where members are encrypted; bytes come from a pipe."""
    command = [need("bsdtar"), "--passphrase", password, "-xOf"]
    if isinstance(archive, Path):
        return _run([*command, archive])
    return _run([*command, "-"], stdin=archive)


def java_command() -> list[str]:
    """Java, for programs that run for a moment."""
    return [need("java"), "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]


def java(archive: Path, how: str) -> Verdict:
    """Java: `how` is "file" (java.util.zip.ZipFile) or "stream" (ZipInputStream). Lists name, size, CRC."""
    return _run([*java_command(), "-cp", _java_classes(), "ReadZip", how, archive])


@cache
def _java_classes() -> str:
    """The directory of the compiled program, which all workers of a test run share."""
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
    shared = Path(tempfile.gettempdir(), f"zipstream-java-{session}")
    if not shared.exists():
        own = tempfile.mkdtemp(prefix="zipstream-java-")
        compiled = _run([need("javac"), "-d", own, _JAVA])
        assert compiled, compiled.said
        try:
            os.rename(own, shared)
        except OSError:  # another worker was faster
            shutil.rmtree(own)
    return str(shared)


def python(data: bytes, module: Any = zipfile) -> Verdict:
    """The standard library, by the central directory, every member read."""
    try:
        with module.ZipFile(io.BytesIO(data)) as archive:
            bad = archive.testzip()
            return Verdict(bad is None, f"{len(archive.filelist)} members, bad: {bad}")
    except (module.BadZipFile, EOFError, NotImplementedError) as exc:
        return Verdict(False, repr(exc))


_ZSTD = ("compression.zstd", "zipfile") if sys.version_info >= (3, 14) else ("backports.zstd", "backports.zstd.zipfile")


def has_zstd() -> bool:
    """Whether Zstandard can be written and read here: from Python 3.14 on, or with the extra."""
    try:
        return all(importlib.import_module(name) for name in _ZSTD)
    except ImportError:
        return False


def need_zstd() -> Any:
    """The module that has Zstandard; without it the test is skipped."""
    return module(_ZSTD[0])


def zstd_zipfile() -> Any:
    """The `zipfile` of Python 3.14, which reads method 93; that of this Python, where there is no extra."""
    return importlib.import_module(_ZSTD[1]) if has_zstd() else zipfile


def unzstd(data: bytes) -> bytes:
    """What is in a member of method 93, of which that reads but one frame; only an empty skippable one may follow."""
    reader = need_zstd().ZstdDecompressor()
    found: bytes = reader.decompress(data)
    assert reader.eof
    assert reader.unused_data in (b"", SKIPPED)
    return found


SKIPPED = b"\x50\x2a\x4d\x18\0\0\0\0"  # RFC 8878 section 3.1.2


BY_DIRECTORY: dict[str, Callable[[Path], Verdict]] = {
    "unzip": unzip,
    "7z": seven_zip,
    "bsdtar": bsdtar,
    "java": lambda archive: java(archive, "file"),
}


def members(data: bytes) -> dict[str, bytes]:
    """Name -> data, as the standard library reads them."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}
