"""Our command line against other programs that zip: a whole tree, start-up and all, through a pipe.

Each program's output is drained and counted here, by the same loop for all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.report import Footnotes, Outcome, Result, figure, ratio, spread, table
from tests.benchmarks.worker import Run, busy_seconds, others, wait_for_quiet
from tests.benchmarks.workloads import MIB, Work

NAME = "command-line"
_DRAIN = MIB
_SEVEN_ZIPS = ("7zz", "7z", "7za")


@dataclass(frozen=True)
class Program:
    """A program that zips.

    In its `command`, TREE stands for the tree, and OUTPUT, where it cannot write an archive to a pipe, for a file.
    """

    name: str
    command: tuple[str, ...]
    note: str = ""

    @property
    def to_file(self) -> bool:
        return "OUTPUT" in self.command


# Name, programs, arguments, the argument for a level, and a note.
_OTHERS = [
    ("zip", ("zip",), ("-q", "-r", "LEVEL", "-", "TREE"), "-{}", ""),
    ("bsdtar", ("bsdtar",), ("--format", "zip", "LEVEL", "-cf", "-", "TREE"), "--options=zip:compression-level={}", ""),
    (
        "7z",
        ("7zz", "7z", "7za"),
        ("a", "-tzip", "LEVEL", "-bd", "-bso0", "-bsp0", "OUTPUT", "TREE"),
        "-mx={}",
        "cannot write to a pipe: writes a file, in memory where the system has a place for it",
    ),
]


def programs(ours: Path, plain: Path, levels: Sequence[int | None] = (None,)) -> list[Program | Outcome]:
    """Those that are installed, at their default (None) or a level, and why others are missing.

    ours, plain: our commands, with and without the extra.
    """
    found: list[Program | Outcome] = []
    for level in levels:
        at = "" if level is None else f" {level}"
        for name, path in (("ours", ours), ("ours-plain", plain)):
            found.append(Program(name + at, (str(path), "TREE", *(() if level is None else ("--level", str(level))))))
        for name, commands, arguments, form, note in _OTHERS:
            path_found = next(filter(None, map(shutil.which, commands)), None)
            if path_found is None:
                found.append(Outcome(name + at, reason="not installed"))
                continue
            places = {"LEVEL": () if level is None else (form.format(level),)}
            parts = [part for each in arguments for part in places.get(each, (each,))]
            found.append(Program(name + at, (path_found, *parts), note))
    return found


# Bytes of shared libraries, and of documents, in the tree.
_SHARE = 64 * MIB


def tree_of(cache: Path, chosen: Path | None, quick: bool) -> Path:
    """The tree that is zipped: the chosen one, or copies of sources, shared libraries and documents of this system.

    The sources are this Python's library, without what pip has added. With `quick`, they are all, and fewer.
    """
    if chosen is not None:
        return chosen.resolve()
    library = Path(sysconfig.get_path("stdlib"))
    tree = cache / f"tree-{'.'.join(map(str, sys.version_info[:3]))}" / ("quick" if quick else "mixed")
    if not tree.exists():
        beside = tree.with_suffix(".part")
        shutil.rmtree(beside, ignore_errors=True)
        leave_out = shutil.ignore_patterns("site-packages", "__pycache__", *(["config-*", "test"] if quick else []))
        shutil.copytree(library, beside / "sources", ignore=leave_out)
        if not quick:
            libraries = Path(sysconfig.get_config_var("LIBDIR") or library).parent
            system = Path("/usr/lib", sysconfig.get_config_var("MULTIARCH") or "")
            _copy_some([system, libraries], "*.so*", beside / "libraries")
            _copy_some([Path("/usr/share/doc")], "*", beside / "documents")
        beside.rename(tree)
    return tree


def _copy_some(places: list[Path], pattern: str, target: Path) -> None:
    """Copy files below `places`, in the order of their names, up to `_SHARE` bytes."""
    size = 0
    target.mkdir()
    for place in places:
        for path in sorted(place.rglob(pattern)):
            if path.is_symlink() or not path.is_file() or size + path.stat().st_size > _SHARE:
                continue
            size += path.stat().st_size
            copy = target / path.relative_to(place)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def run(program: Program, tree: Path, limit: float, keep: Path | None = None) -> Run:
    """Run `program` on `tree`, as its user would beside it. `keep` gets the archive."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="zipstream-benchmark-", dir=memory) as folder:
        target = Path(folder, "archive.zip")
        places = {"TREE": tree.name, "OUTPUT": str(target)}
        command = [places.get(part, part) for part in program.command]
        busy, mine, start = busy_seconds(), time.process_time(), time.perf_counter()
        with (
            open(Path(folder, "said"), "w+b") as said,
            subprocess.Popen(command, cwd=tree.parent, stdout=subprocess.PIPE, stderr=said) as process,
        ):
            guard = threading.Timer(limit, process.kill)
            guard.start()
            chunks, written, largest = _drain(process, keep)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            guard.cancel()
            cpu = usage.ru_utime + usage.ru_stime
            elsewhere = others(busy, seconds, cpu + time.process_time() - mine)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                said.seek(0)
                complaint = said.read().decode("utf-8", "replace").strip().split("\n")[-1]
                raise RuntimeError(f"failed with status {process.returncode}: {complaint[:200]}")
        if program.to_file:
            written = target.stat().st_size
            if keep:
                shutil.copyfile(target, keep)
    # A child's peak of memory starts with that of this process, and says nothing.
    return Run(seconds, cpu, elsewhere, 0, written, chunks, largest)


def _drain(process: subprocess.Popen[bytes], keep: Path | None) -> tuple[int, int, int]:
    assert process.stdout is not None
    chunks = written = largest = 0
    with open(keep or os.devnull, "wb") as file:
        while chunk := os.read(process.stdout.fileno(), _DRAIN):
            chunks, written, largest = chunks + 1, written + len(chunk), max(largest, len(chunk))
            if keep:
                file.write(chunk)
    return chunks, written, largest


def check(program: Program, tree: Path, limit: float) -> str | None:
    """What is wrong with the archive of `tree`, as the standard library sees it."""
    wanted = sum(len(files) for _, _, files in os.walk(tree))
    with tempfile.TemporaryDirectory(prefix="zipstream-benchmark-") as folder:
        keep = Path(folder, "archive.zip")
        run(program, tree, limit, keep)
        with zipfile.ZipFile(keep) as archive:
            found = sum(not info.is_dir() for info in archive.infolist())
            bad = archive.testzip()
    return None if (found, bad) == (wanted, None) else f"{found} files instead of {wanted}, broken: {bad}"


def compare(candidates: list[Program | Outcome], tree: Path, runs: int, limit: float, patience: float = 0) -> Result:
    """Everybody in turn, `runs` times; the first round is checked as well."""
    # Reading all of it now has it in the system's cache for everybody.
    size = sum(len(path.read_bytes()) for path in tree.rglob("*") if path.is_file())
    outcomes = [each if isinstance(each, Outcome) else Outcome(each.name, note=each.note) for each in candidates]
    for number in range(runs):
        for program, outcome in zip(candidates, outcomes, strict=True):
            if isinstance(program, Outcome) or outcome.reason:
                continue
            wait_for_quiet(patience)
            try:
                outcome.runs.append(run(program, tree, limit))
                wrong = check(program, tree, limit) if number == 0 else None
                outcome.note = "; ".join(filter(None, [outcome.note, wrong and f"its archive is wrong: {wrong}"]))
            except (RuntimeError, OSError, zipfile.BadZipFile) as exc:
                outcome.reason = str(exc)
    return Result(Work(name=NAME, shape="files", size=size), outcomes)


def details(result: Result) -> str:
    """The table of one comparison."""
    notes = Footnotes()
    head = ["", "s", "fastest to slowest", "MB/s", "CPU s", "archive MiB", "time ÷ ours"]
    rows = [
        [
            outcome.contender + notes.mark(outcome.remark),
            figure(outcome.seconds, ",.3f"),
            spread(outcome),
            figure(ratio(result.work.total / 1e6, outcome.seconds), ",.0f"),
            figure(outcome.median(lambda run: run.cpu)),
            figure(outcome.median(lambda run: run.written / MIB)),
            figure(ratio(outcome.seconds, result.seconds_of("ours"))),
        ]
        for outcome in result.outcomes
    ]
    title = f"A directory tree of {result.work.size / MIB:,.1f} MiB, deflated, to a pipe; the whole command."
    return f"### {NAME}\n\n{title}\n\n{table(head, rows)}{notes}"
