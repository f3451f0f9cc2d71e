"""The standard library's own tests of zipfile, run with StreamingZipFile where they ask for an archive to write.

``python -m tests.interop.stdlib_cases WRITER RESULTS [PATTERN...]`` runs them in the current directory and writes what
became of each test that opened an archive for writing to the file RESULTS, as JSON. A process of its own, because the
tests want their names in the current directory and ``zipfile.ZipFile`` is replaced for all of it.

WRITER: "default"; "late" (lookahead=0: a data descriptor behind every member that has data); or "zipfile", which
replaces nothing, to tell a test that fails by our doing from one that fails anyway.
"""

from __future__ import annotations

import importlib
import json
import sys
import traceback
import unittest
import zipfile
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from zipstream_adapter import StreamingZipFile

MODULES = (
    ("test.test_zipfile",)
    if sys.version_info < (3, 12)
    else ("test.test_zipfile.test_core", "test.test_zipfile._path.test_path")
)

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class StreamingPyZipFile(StreamingZipFile):
    """PyZipFile is nothing but ZipFile with one more method and an option: so is this."""

    writepy: Any = zipfile.PyZipFile.writepy
    _get_codename = zipfile.PyZipFile._get_codename  # type: ignore[attr-defined]

    def __init__(self, file: Any, mode: Any = "w", *, optimize: int = -1, **options: Any) -> None:
        super().__init__(file, mode, **options)
        self._optimize = optimize


class Replacement:
    """Stands in a class's place: `ours` for modes "w" and "x", the class itself for all the rest."""

    def __init__(self, real: Any, ours: Callable[..., Any]) -> None:
        self._real = real
        self._ours = ours
        self.made = 0

    def __call__(self, file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        if mode not in ("w", "x"):
            return self._real(file, mode, *args, **options)
        self.made += 1
        return self._ours(file, mode, *args, **options)

    def __instancecheck__(self, thing: object) -> bool:
        return isinstance(thing, self._real)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Outcomes(unittest.TestResult):
    """What became of each test that asked one of `replacements` for an archive to write: "passed", or what was said."""

    def __init__(self, replacements: list[Replacement]) -> None:
        super().__init__()
        self.by_id: dict[str, str] = {}
        self._replacements = replacements
        self._outcome = ""

    def startTest(self, test: unittest.TestCase) -> None:
        for replacement in self._replacements:
            replacement.made = 0
        self._outcome = "passed"
        super().startTest(test)

    def stopTest(self, test: unittest.TestCase) -> None:
        if any(replacement.made for replacement in self._replacements):
            self.by_id[short_id(test)] = self._outcome
        super().stopTest(test)

    def addFailure(self, test: unittest.TestCase, err: _ExcInfo) -> None:
        self._outcome = "failed: " + "".join(traceback.format_exception(*err))

    addError = addFailure

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: _ExcInfo | None) -> None:
        if err is not None:
            self.addFailure(subtest, err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self._outcome = f"skipped: {reason}"


def short_id(test: unittest.TestCase) -> str:
    return ".".join(test.id().split(".")[-2:])


def all_tests(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from all_tests(item)
        else:
            yield item


def run(writer: str, patterns: list[str]) -> dict[str, str]:
    suite = unittest.TestSuite()
    for module in MODULES:
        for test in all_tests(unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(module))):
            if any(fnmatchcase(short_id(test), pattern) for pattern in patterns):
                suite.addTest(test)
    writers: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
        "default": (StreamingZipFile, StreamingPyZipFile),
        "late": (partial(StreamingZipFile, lookahead=0), partial(StreamingPyZipFile, lookahead=0)),
        "zipfile": (zipfile.ZipFile, zipfile.PyZipFile),
    }
    archive, py_archive = writers[writer]
    replacements = [Replacement(zipfile.ZipFile, archive), Replacement(zipfile.PyZipFile, py_archive)]
    outcomes = Outcomes(replacements)
    zipfile.ZipFile = replacements[0]  # type: ignore[misc,assignment]
    if writer != "zipfile":  # PyZipFile itself needs ZipFile under its name
        zipfile.PyZipFile = replacements[1]  # type: ignore[misc,assignment]
    suite.run(outcomes)
    return outcomes.by_id


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(run(sys.argv[1], sys.argv[3:] or ["*"])))
