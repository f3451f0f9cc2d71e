"""What the tests that inject faults share: the fault, the ledger of what was tried, and the judges of what left."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from zipfile import ZIP_BZIP2, ZIP_LZMA

import pytest

from tests.support import oracles

# Outputs of each kind that the outsiders judge, besides the standard library, which judges all.
SAMPLE = 8


class BoomError(Exception):
    """What goes wrong."""


class Ledger:
    """What was tried, what left, and what of it looked whole."""

    def __init__(self) -> None:
        self.cases: Counter[str] = Counter()
        self.outputs = 0
        self.judged: Counter[str] = Counter()
        self.whole: list[tuple[str, str]] = []
        self.in_directory = 0

    def __str__(self) -> str:
        tried = ", ".join(f"{what} {count}" for what, count in self.cases.items())
        judged = ", ".join(f"{who} {count}" for who, count in self.judged.items())
        return (
            f"fault injection: {self.cases.total()} cases ({tried}); {self.outputs} distinct outputs, "
            f"judged: {judged}; looked whole: {len(self.whole)}, besides {self.in_directory} that were cut in the "
            "directory, behind whose first bytes bsdtar does not look"
        )


def kept_ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """A ledger that is printed when its fixture goes."""
    made = Ledger()
    yield made
    plugins = request.config.pluginmanager
    reporter, capture = plugins.get_plugin("terminalreporter"), plugins.get_plugin("capturemanager")
    if reporter is not None and capture is not None:
        with capture.global_and_fixture_disabled():
            reporter.write_line(f"\n{made}")


class Outputs:
    """What left in the cases of one test, each distinct output once, with the case that it is of."""

    def __init__(self, ledger: Ledger, whole: bytes, is_read_by: Callable[[str], bool]) -> None:
        self._ledger, self._is_read_by = ledger, is_read_by
        self._whole = whole
        self._left: dict[bytes, str] = {}

    def add(self, left: bytes, what: str, where: str) -> None:
        self._ledger.cases[what] += 1
        self._left.setdefault(left, f"{what} {where}")

    def judge(self, folder: Path, cut_in_writes: bool = False) -> None:
        """Fail if anything that left looks whole to anyone. The whole archive is judged too: it must be accepted.

        Where a write can be cut, it can be cut behind the last member: whoever reads front to back, and ends at the
        directory's first four bytes, has read all there is by then, and cannot tell.
        """
        directory_seen = self._whole.index(b"PK\1\2") + 4
        self._left.pop(b"", None)  # nothing at all is no archive, though bsdtar takes it for one
        accepted = [("zipfile", case) for left, case in self._left.items() if oracles.python(left)]
        self._ledger.judged["zipfile"] += len(self._left)
        assert oracles.python(self._whole)
        by_length = sorted(self._left, key=len)
        # The longest ones are nearest to an archive; the rest of the sample is spread over all lengths.
        nearest = [left for left in by_length if len(left) < directory_seen][-2:] + by_length[-2:]
        sample = {*nearest, *by_length[:: max(1, len(by_length) // (SAMPLE - 4))]}
        by_name = {f"{number}.zip": left for number, left in enumerate(sample)}
        for name, left in by_name.items():
            (folder / name).write_bytes(left)
        (folder / "whole.zip").write_bytes(self._whole)
        for who, said_yes in _outsiders(folder).items():
            self._ledger.judged[who] += len(sample)
            # What older versions of a reader cannot read, newer ones may.
            assert "whole.zip" in said_yes or not self._is_read_by(who), f"{who} on the whole archive"
            for left in [by_name[name] for name in said_yes if name != "whole.zip"]:
                if cut_in_writes and who.startswith("bsdtar") and len(left) >= directory_seen:
                    self._ledger.in_directory += 1
                else:
                    accepted.append((who, self._left[left]))
        self._ledger.outputs += len(self._left)
        self._ledger.whole += accepted
        assert accepted == []


def reads(who: str, method: int, descriptor: bool) -> bool:
    """Whether `who` reads a whole archive with such a member."""
    if who == "unzip":
        return method != ZIP_LZMA
    # libarchive finds the end of these only where their size stands before them.
    unframed = method in (ZIP_BZIP2, ZIP_LZMA) and descriptor
    return not (who == "bsdtar from a pipe" and unframed)


_COMMANDS = {"unzip": "unzip -tqq $f", "bsdtar": "bsdtar -xOf $f", "bsdtar from a pipe": "cat $f | bsdtar -xOf -"}


def _outsiders(folder: Path) -> dict[str, list[str]]:
    """Program -> the files in `folder` that it accepts."""
    said = {}
    for who, command in _COMMANDS.items():
        oracles.need(who.split()[0])
        loop = f"for f in *.zip; do ({command}) >/dev/null 2>&1 </dev/null && echo $f; done; true"
        done = subprocess.run(["sh", "-c", loop], cwd=folder, capture_output=True, timeout=200, check=True)
        said[who] = done.stdout.decode().split()
    return said
