"""Figures to Markdown."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from statistics import median

from tests.benchmarks.peers import LIMIT, OURS
from tests.benchmarks.worker import Run
from tests.benchmarks.workloads import MIB, Work

# Cores busy with something else that are worth a word.
_CROWDED = 0.2
NOTHING = "\N{EN DASH}"


@dataclass
class Outcome:
    """How one contender did one work: its runs, or the reason why there are none."""

    contender: str
    runs: list[Run] = field(default_factory=list)
    reason: str | None = None
    note: str = ""

    def median(self, figure: Callable[[Run], float]) -> float | None:
        return median(map(figure, self.runs)) if self.runs else None

    @property
    def remark(self) -> str:
        """What is to be said below a table: why there is nothing, what was special, and what disturbed it."""
        if self.reason:
            return self.reason
        crowded = sum((run.others or 0) > _CROWDED for run in self.runs)
        disturbed = f"in {crowded} of {len(self.runs)} runs others kept the machine busy as well" if crowded else ""
        return "; ".join(filter(None, [self.note, disturbed]))

    @property
    def seconds(self) -> float | None:
        return self.median(lambda run: run.seconds)


@dataclass
class Result:
    """A work, and how everybody did it. `reference` is what the standard zlib makes of the same data."""

    work: Work
    outcomes: list[Outcome]
    reference: int | None = None

    def seconds_of(self, contender: str) -> float | None:
        return next((each.seconds for each in self.outcomes if each.contender == contender), None)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; its first column is text, the others are figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def figure(value: float | None, form: str = ",.2f") -> str:
    return NOTHING if value is None else format(value, form)


def ratio(value: float | None, base: float | None) -> float | None:
    return value / base if value and base else None


def details(result: Result) -> str:
    """Everything about one work."""
    work = result.work
    small = work.shape in ("members", "tree")
    deflated = result.reference is not None
    head = ["", "s", "fastest to slowest", "µs/member" if small else "MB/s", "CPU s", "peak MiB", "chunks"]
    head += ["largest KiB", *(["size ÷ zlib's"] if deflated else []), "time ÷ ours", "time ÷ limit"]
    notes = Footnotes()
    rows = []
    for outcome in result.outcomes:
        seconds = outcome.seconds
        rate = None if seconds is None else seconds / work.count * 1e6 if small else work.total / seconds / 1e6
        written = outcome.median(lambda run: run.written)
        row = [
            outcome.contender + notes.mark(outcome.remark),
            figure(seconds, ",.3f"),
            spread(outcome),
            figure(rate, ",.2f" if small else ",.0f"),
            figure(outcome.median(lambda run: run.cpu)),
            figure(outcome.median(lambda run: run.peak / MIB), ",.1f"),
            figure(outcome.median(lambda run: run.chunks), ",.0f"),
            figure(outcome.median(lambda run: run.largest / 1024), ",.0f"),
            figure(ratio(seconds, result.seconds_of(OURS.name))),
            figure(ratio(seconds, result.seconds_of(LIMIT.name))),
        ]
        if deflated:
            row.insert(-2, figure(ratio(written, result.reference), ".4f"))
        rows.append(row)
    return f"### {work.name}\n\n{work.title}.\n\n{table(head, rows)}{notes}"


def summary(results: Sequence[Result]) -> str:
    """Every work in a line: the median time, and how many times ours that is."""
    names = list(dict.fromkeys(outcome.contender for result in results for outcome in result.outcomes))
    names.sort(key=lambda name: name != OURS.name)
    notes = Footnotes()
    rows = []
    for result in results:
        by_name = {outcome.contender: outcome for outcome in result.outcomes}
        cells = (_cell(by_name.get(name), result, notes) for name in names)
        rows.append([result.work.name, *cells])
    explained = "Seconds, medians; in brackets how many times as long as ours: above 1, ours is the faster one.\n\n"
    return explained + table(["", *names], rows) + str(notes)


def _cell(outcome: Outcome | None, result: Result, notes: Footnotes) -> str:
    if outcome is None:
        return NOTHING
    mark = notes.mark(outcome.remark)
    if outcome.seconds is None:
        return NOTHING + mark
    times = ratio(outcome.seconds, result.seconds_of(OURS.name))
    relative = "" if outcome.contender == OURS.name or times is None else f" ({times:.2f})"
    return f"{outcome.seconds:,.3f}{relative}{mark}"


def spread(outcome: Outcome) -> str:
    """The fastest and the slowest run."""
    seconds = [run.seconds for run in outcome.runs]
    return f"{min(seconds):,.3f} to {max(seconds):,.3f}" if len(seconds) > 1 else NOTHING


class Footnotes:
    """Notes below a table; the same one is said once."""

    def __init__(self) -> None:
        self._notes: list[str] = []

    def mark(self, note: str) -> str:
        """The mark of `note` in the table; nothing where there is none."""
        if not note:
            return ""
        if note not in self._notes:
            self._notes.append(note)
        return f" <sup>{self._notes.index(note) + 1}</sup>"

    def __str__(self) -> str:
        lines = [f"{number}. {note}\n" for number, note in enumerate(self._notes, 1)]
        return "".join(["\n" if lines else "", *lines])


def machine() -> dict[str, str]:
    """What all of this ran on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": date.today().isoformat(),
        "processor": _cpu_info("model name") or platform.processor() or platform.machine(),
        "features": " ".join(each for each in _cpu_info("flags", "Features").split() if each in _FEATURES),
        "cores": str(cores),
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


# What the fast checksums and compressors use.
_FEATURES = frozenset({
    "sse4_2", "pclmulqdq", "vpclmulqdq", "avx2", "bmi2", "avx512f", "avx512bw", "avx512vl", "avx512_vbmi2",
    "asimd", "crc32", "pmull", "sve",
})  # fmt: skip


def _cpu_info(*keys: str) -> str:
    """The first core's value of one of `keys`, where the system tells (Linux)."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return ""
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    return next((found[key] for key in keys if key in found), "")


def heading(runs: int, versions: dict[str, dict[str, str]]) -> str:
    lines = [f"- {key}: {value}\n" for key, value in machine().items()]
    for name, installed in versions.items():
        lines.append(f"- {name}: {', '.join(f'{each} {version}' for each, version in installed.items())}\n")
    return f"## Benchmarks\n\n{''.join(lines)}- runs: {runs}, interleaved, each in a process of its own\n"


def progress(text: str) -> None:
    """Say to whoever waits what is going on."""
    print(text, file=sys.stderr, flush=True)
