"""Pictures of a benchmark's figures: ours beside peers and the limit, and growth. Needs the extra ``bench``.

python -m tests.benchmarks.plot FIGURES.json [PICTURE.png]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

OURS, LIMIT = "ours", "limit"
_COLOURS = {OURS: "#1f77b4", LIMIT: "#2ca02c"}
_OTHER = "#bbbbbb"


def plot(figures: dict[str, Any], target: Path) -> None:
    """Draw `figures`, as `python -m tests.benchmarks` keeps them, to the file `target`.

    Raises ImportError, which names the extra, if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise ImportError("pictures need matplotlib: install the extra 'bench' (pip install '.[bench]')") from exc

    works = [each for each in figures["results"] if times_of(each).get(OURS)]
    growth = figures.get("growth", [])
    columns = 2 if growth else 1
    figure = Figure(figsize=(8 * columns, max(4.0, 1.5 + 0.9 * len(works))), layout="constrained")
    machine = figures["machine"]
    figure.suptitle(f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}, {machine['date']}")
    parts = figure.subfigures(1, columns, squeeze=False)[0]
    _works(parts[0].subplots(), works)
    if growth:
        above, below = parts[1].subplots(2, 1)
        _growth(above, [each for each in growth if each["kind"] == "members"], "members", 1)
        _growth(below, [each for each in growth if each["kind"] == "bytes"], "bytes of data", 1024)
    figure.savefig(target, dpi=120)


def times_of(result: dict[str, Any]) -> dict[str, float]:
    """Median seconds, by contender, of those that did the work."""
    return {
        each["contender"]: median(run["seconds"] for run in each["runs"]) for each in result["outcomes"] if each["runs"]
    }


def _works(axis: Any, works: list[dict[str, Any]]) -> None:
    place, ticks = 0.0, []
    for result in reversed(works):
        times = times_of(result)
        first = place
        for name, seconds in sorted(times.items(), key=lambda pair: -pair[1]):
            axis.barh(place, seconds / times[OURS], 0.9, color=_COLOURS.get(name, _OTHER))
            axis.text(seconds / times[OURS], place, f" {name} {seconds:.2f} s", va="center", fontsize=6)
            place += 1
        ticks.append(((first + place - 1) / 2, result["work"]["name"]))
        place += 1
    axis.set_yticks([at for at, _ in ticks], [name for _, name in ticks])
    axis.set_xscale("log")
    axis.set_xlabel("time, as a multiple of ours")
    axis.margins(x=0.25)


def _growth(axis: Any, points: list[dict[str, Any]], what: str, unit: int) -> None:
    counts = [each["count"] for each in points]
    axis.plot(counts, [each["seconds"] * 1e9 * unit / each["count"] for each in points], "o-", color=_COLOURS[OURS])
    axis.set_xscale("log")
    axis.set_ylim(bottom=0)
    axis.set_xlabel(what)
    axis.set_ylabel(f"ns per {'member' if unit == 1 else 'KiB'}", color=_COLOURS[OURS])
    memory = axis.twinx()
    memory.plot(counts, [each["peak"] / (1 << 20) for each in points], "s--", color=_COLOURS[LIMIT])
    memory.set_ylim(bottom=0)
    memory.set_ylabel("peak memory, MiB", color=_COLOURS[LIMIT])


def main() -> None:
    source = Path(sys.argv[1])
    plot(json.loads(source.read_text("utf-8")), Path(sys.argv[2]) if len(sys.argv) > 2 else source.with_suffix(".png"))


if __name__ == "__main__":
    main()
