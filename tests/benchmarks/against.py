"""Two commits in one run: `python -m tests.benchmarks --against COMMIT`.

The commit is checked out into a worktree of its own. The benchmark's own code and data are those of this checkout; only
the package is exchanged. Both take turns, run by run, in processes of one environment.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.environments import CHECKOUT
from tests.benchmarks.peers import OURS
from tests.benchmarks.report import figure, progress, table
from tests.benchmarks.worker import Run, wait_for_quiet
from tests.benchmarks.workloads import Work, prepare

Job = Callable[[Path, dict[str, Any], float, Path], dict[str, Any]]


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(CHECKOUT), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


@contextmanager
def sides(commit: str) -> Iterator[dict[str, Path]]:
    """Yield, by name, a folder with this benchmark and the package of each side."""
    name = _git("rev-parse", "--short", f"{commit}^{{commit}}")
    with tempfile.TemporaryDirectory(prefix="zipstream-against-") as temporary:
        tree = Path(temporary, "tree")
        _git("worktree", "add", "--detach", "--quiet", str(tree), name)
        try:
            found = {}
            for side, package in ((name, tree), ("this", CHECKOUT)):
                folder = found[side] = Path(temporary, f"side-{side}")
                folder.mkdir()
                (folder / "tests").symlink_to(CHECKOUT / "tests", target_is_directory=True)
                (folder / "zipstream_adapter").symlink_to(package / "zipstream_adapter", target_is_directory=True)
            yield found
        finally:
            _git("worktree", "remove", "--force", str(tree))


def compare(job: Job, python: Path, works: list[Work], folder: Path, runs: int, limit: float, patience: float) -> Any:
    """Return a function of the sides' folders that gives, by work and side, the runs."""

    def measured(places: dict[str, Path]) -> dict[str, dict[str, list[Run]]]:
        found: dict[str, dict[str, list[Run]]] = {}
        for work in works:
            prepare(work, folder)
            each = found[work.name] = {side: [] for side in places}
            for _ in range(runs):
                for side, place in places.items():
                    wait_for_quiet(patience)
                    said = {"task": "measure", "contender": OURS.name, "work": asdict(work), "folder": str(folder)}
                    each[side].append(Run(**job(python, said, limit, place)))
                    progress(f"{work.name}: {side} {each[side][-1].seconds:.3f} s")
        return found

    return measured


def details(found: dict[str, dict[str, list[Run]]]) -> str:
    """Return the medians of both sides, and how many times as long this checkout takes."""
    rows = []
    names: list[str] = []
    for work, by_side in found.items():
        names = list(by_side)
        (old, new) = (by_side[name] for name in names)
        row = [work]
        for value in (lambda run: run.seconds, lambda run: run.cpu, lambda run: float(run.written)):
            before, after = (median(map(value, runs)) for runs in (old, new))
            form = ",.0f" if value(new[0]) == new[0].written else ",.3f"
            row += [figure(before, form), figure(after, form), figure(after / before if before else None)]
        rows.append(row)
    if not names:
        return ""
    head = [""]
    for what in ("s", "CPU s", "bytes"):
        head += [f"{what}, {names[0]}", f"{what}, {names[1]}", "ratio"]
    return (
        f"### against {names[0]}\n\nMedians; a ratio below 1 means that this checkout is better.\n\n{table(head, rows)}"
    )
