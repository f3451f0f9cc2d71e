"""`python -m tests.benchmarks`, from the root of the checkout: measure ourselves, our peers, and the limit."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import commandline
from .environments import CHECKOUT, cache_folder, make, program
from .peers import LIMIT, OURS, PEERS, PLAIN, Contender
from .report import Outcome, Result, details, heading, machine, progress, summary
from .worker import Run, wait_for_quiet
from .workloads import WORKS, Work, prepare, zlib_size

# A run that checks streams twice, into a file, and reads what it wrote.
_CHECK_LIMIT = 600.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what `argv` asks for, and print it as Markdown."""
    arguments = _arguments(argv)
    cache: Path = arguments.cache
    chosen = [OURS, PLAIN, LIMIT, *(peer for peer in PEERS if peer.name in arguments.peers)]
    pythons = {each.name: make(cache, each.requirements, arguments.fresh and each is not LIMIT) for each in chosen}
    versions = {each.name: _job(pythons[each.name], {"task": "versions"}, 60) for each in chosen if each is not LIMIT}
    bench = Bench(pythons, cache / "data", arguments.limit, arguments.patience)
    results = []
    for work in WORKS:
        if work.name in arguments.work:
            runs = min(arguments.runs, work.runs or arguments.runs)
            results.append(bench.do(work.quick() if arguments.quick else work, chosen, runs))
    texts = [heading(arguments.runs, versions), *([summary(results)] if results else []), *map(details, results)]
    if commandline.NAME in arguments.work:
        commands = commandline.programs(*(_command(pythons[each.name]) for each in (OURS, PLAIN)))
        tree = commandline.tree_of(cache / "data", arguments.tree, arguments.quick)
        progress(f"{commandline.NAME}: {tree}")
        result = commandline.compare(commands, tree, arguments.runs, arguments.limit, arguments.patience)
        texts.append(commandline.details(result))
        results.append(result)
    print("\n".join(texts))
    if arguments.json:
        figures = {"machine": machine(), "versions": versions, "results": [asdict(each) for each in results]}
        arguments.json.write_text(json.dumps(figures, indent=1), "utf-8")
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    peers = [peer.name for peer in PEERS]
    works = [*(work.name for work in WORKS), commandline.NAME]
    parser.add_argument("--runs", type=int, metavar="N", help="runs of everybody (default: 5; with --quick: 1)")
    parser.add_argument("--quick", action="store_true", help="less of everything, for trying out")
    parser.add_argument("--peers", type=_some_of(peers), default=peers, metavar="A,B", help=", ".join(peers))
    parser.add_argument("--work", type=_some_of(works), default=works, metavar="X,Y", help=", ".join(works))
    parser.add_argument("--limit", type=float, default=120, metavar="SECONDS", help="for a single run (default: 120)")
    parser.add_argument(
        "--patience", type=float, default=0, metavar="SECONDS", help="wait so long for a quiet machine before each run"
    )
    parser.add_argument("--tree", type=Path, metavar="DIR", help=f"what {commandline.NAME} zips (default: a library)")
    parser.add_argument("--cache", type=Path, default=cache_folder(), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--fresh", action="store_true", help="make the environments anew")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of all runs there")
    arguments = parser.parse_args(argv)
    arguments.runs = arguments.runs or (1 if arguments.quick else 5)
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


def _job(python: Path, job: dict[str, Any], limit: float) -> dict[str, Any]:
    """What a worker has to say."""
    command = [str(python), "-m", f"{__package__}.worker", json.dumps(job)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=limit, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1])
    said: dict[str, Any] = json.loads(done.stdout)
    return said


if __name__ == "__main__":
    sys.exit(main())
