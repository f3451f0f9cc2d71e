"""`python -m tests.benchmarks`, from the root of the checkout: measure ourselves, our peers, and the limit."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.benchmarks import against, commandline, growth
from tests.benchmarks.environments import CHECKOUT, cache_folder, make, program
from tests.benchmarks.peers import LIMIT, OURS, PEERS, PLAIN, Contender
from tests.benchmarks.report import Outcome, Result, details, heading, machine, progress, summary
from tests.benchmarks.worker import Run, wait_for_quiet
from tests.benchmarks.workloads import WORKS, Work, prepare, zlib_size

# A run that checks streams twice, into a file, and reads what it wrote.
_CHECK_LIMIT = 600.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what `argv` asks for, and print it as Markdown."""
    arguments = _arguments(argv)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # commands are timed with compiled modules, as users have them
    cache: Path = arguments.cache
    peers = [] if arguments.against else [peer for peer in PEERS if peer.name in arguments.peers]
    chosen = [OURS] if arguments.against else [OURS, PLAIN, LIMIT, *peers]
    pythons = {each.name: make(cache, each.requirements, arguments.fresh and each is not LIMIT) for each in chosen}
    versions = {each.name: _job(pythons[each.name], {"task": "versions"}, 60) for each in chosen if each is not LIMIT}
    if arguments.against:
        return _against(arguments, pythons[OURS.name], heading(arguments.runs, {OURS.name: versions[OURS.name]}))
    bench = Bench(pythons, cache / "data", arguments.limit, arguments.patience)
    results = []
    for work in WORKS:
        if work.name in arguments.work:
            runs = min(arguments.runs, work.runs or arguments.runs)
            results.append(bench.do(work.quick() if arguments.quick else work, chosen, runs))
    texts = [heading(arguments.runs, versions), *([summary(results)] if results else []), *map(details, results)]
    if commandline.NAME in arguments.work:
        levels = (None, 1, 6, 9) if arguments.all_levels else (None,)
        commands = commandline.programs(_command(pythons[OURS.name]), _command(pythons[PLAIN.name]), levels)
        tree = commandline.tree_of(cache / "data", arguments.tree, arguments.quick)
        progress(f"{commandline.NAME}: {tree}")
        result = commandline.compare(commands, tree, arguments.runs, arguments.limit, arguments.patience)
        texts.append(commandline.details(result))
        results.append(result)
    figures = {"machine": machine(), "versions": versions, "results": [asdict(each) for each in results]}
    if growth.NAME in arguments.work:
        points = growth.points(["members", "bytes"])
        texts.append(growth.details(points))
        figures["growth"] = [asdict(each) for each in points]
    print("\n".join(texts))
    kept = arguments.json or cache / f"figures-{datetime.now():%Y-%m-%d-%H%M%S}.json"
    kept.write_text(json.dumps(figures, indent=1), "utf-8")
    progress(f"kept in {kept}")
    if arguments.plot:
        from tests.benchmarks.plot import plot

        plot(figures, arguments.plot)
    return 0


def _against(arguments: argparse.Namespace, python: Path, head: str) -> int:
    works = [work.quick() if arguments.quick else work for work in WORKS if work.name in arguments.work and work.fast]
    compare = against.compare(
        _job, python, works, arguments.cache / "data", arguments.runs, arguments.limit, arguments.patience
    )
    with against.sides(arguments.against) as places:
        print(head, against.details(compare(places)), sep="\n")
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    peers = [peer.name for peer in PEERS]
    works = [*(work.name for work in WORKS), commandline.NAME, growth.NAME]
    parser.add_argument("--runs", type=int, metavar="N", help="runs of everybody (default: 3; with --quick: 1)")
    parser.add_argument("--quick", action="store_true", help="less of everything, for trying out")
    parser.add_argument("--peers", type=_some_of(peers), default=peers, metavar="A,B", help=", ".join(peers))
    parser.add_argument("--work", type=_some_of(works), default=works, metavar="X,Y", help=", ".join(works))
    parser.add_argument("--limit", type=float, default=120, metavar="SECONDS", help="for a single run (default: 120)")
    parser.add_argument(
        "--patience", type=float, default=0, metavar="SECONDS", help="wait so long for a quiet machine before each run"
    )
    parser.add_argument("--tree", type=Path, metavar="DIR", help=f"what {commandline.NAME} zips (default: libraries)")
    parser.add_argument("--all-levels", action="store_true", help=f"{commandline.NAME} at 1, 6 and 9, too")
    parser.add_argument("--cache", type=Path, default=cache_folder(), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--fresh", action="store_true", help="make the environments anew")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="keep the figures of all runs there (default: the cache)"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them to this picture (extra bench)")
    parser.add_argument("--against", metavar="COMMIT", help="compare the package of this commit with this checkout's")
    arguments = parser.parse_args(argv)
    arguments.runs = arguments.runs or (1 if arguments.quick else 3)
    return arguments


def _some_of(names: list[str]) -> Any:
    def parse(text: str) -> list[str]:
        chosen = [name for name in text.split(",") if name]
        for name in chosen:
            if name not in names:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(names)}")
        return chosen

    return parse


def _command(python: Path) -> Path:
    return program(python.parent.parent, "zipstream-adapter")


class Bench:
    """Runs work, each run in a process of its contender's environment."""

    def __init__(self, pythons: dict[str, Path], folder: Path, limit: float, patience: float) -> None:
        self._pythons = pythons
        self._folder = folder
        self._limit = limit
        self._patience = patience

    def do(self, work: Work, contenders: list[Contender], runs: int) -> Result:
        """Everybody in turn, `runs` times. Who cannot, fails, or is too slow does not get another turn."""
        prepare(work, self._folder)
        taking_part = [each for each in contenders if each is not PLAIN or (work.fast and work.level is None)]
        outcomes = {each: Outcome(each.name, reason=each.cannot(work), note=each.note(work)) for each in taking_part}
        for number in range(runs):
            for contender, outcome in outcomes.items():
                if outcome.reason is None:
                    wait_for_quiet(self._patience)
                    self._once(contender, work, outcome, check=number == 0 and contender is not LIMIT)
        reference = None if work.level is None else zlib_size(self._folder, work.size, work.level)
        return Result(work, list(outcomes.values()), reference)

    def _once(self, contender: Contender, work: Work, outcome: Outcome, check: bool) -> None:
        mine = contender.name if work.fast or contender not in (OURS, LIMIT) else PLAIN.name
        job = {"contender": contender.name, "work": asdict(work), "folder": str(self._folder)}
        try:
            run = Run(**_job(self._pythons[mine], {"task": "measure", **job}, self._limit))
            progress(f"{work.name}: {contender.name} {run.seconds:.3f} s")
            if check:
                seen = _job(self._pythons[mine], {"task": "check", **job}, _CHECK_LIMIT)
                if seen["wrong"] or seen["written"] != run.written:
                    raise RuntimeError(f"its archive is wrong: {seen['wrong'] or 'its length changes'}")
            outcome.runs.append(run)
        except subprocess.TimeoutExpired as exc:
            outcome.reason = f"not done after {exc.timeout:g} s"
        except RuntimeError as exc:
            outcome.reason = f"failed: {exc}"
        if outcome.reason:
            progress(f"{work.name}: {contender.name} {outcome.reason}")


def _job(python: Path, job: dict[str, Any], limit: float, folder: Path = CHECKOUT) -> dict[str, Any]:
    """What a worker has to say. folder: has the benchmark and the package."""
    command = [str(python), "-m", f"{__package__}.worker", json.dumps(job)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=limit, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])
    said: dict[str, Any] = json.loads(done.stdout)
    return said


if __name__ == "__main__":
    sys.exit(main())
