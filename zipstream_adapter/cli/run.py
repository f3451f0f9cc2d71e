"""Choose the command, run it, and turn its errors into a line and an exit status."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import ZipStreamError
from .messages import message
from .parser import COMMANDS, build
from .printing import print_text
from .signals import unwound_by_signals
from .terminal import say

if TYPE_CHECKING:
    from .parser import Parser

FAILED, INTERRUPTED, PIPE_CLOSED = 1, 130, 141
_HELP = ("-h", "--help")


def run(argv: Sequence[str]) -> int:
    """Run the command line `argv`. Returns its exit status; see `parser.STATUSES`."""
    top, commands = build()
    if argv[:1] and (argv[0] in _HELP or argv[0].startswith("--print-completion")):
        return _run_top(top, argv)
    name = _command_of(argv)
    parser = commands[name or "create"]
    arguments = parser.parse_intermixed_args(_with_numbers(argv if name is None else argv[1:]))
    try:
        with unwound_by_signals():
            return _work(name or "create", arguments, parser)
    except BrokenPipeError:
        return PIPE_CLOSED  # the reader is gone, so an error message is of no use
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except (ZipStreamError, OSError, ImportError) as exc:
        say(message(exc))
        return FAILED


def _command_of(argv: Sequence[str]) -> str | None:
    """Return the command that `argv` begins with; None if it is a list of files to archive."""
    if not argv or argv[0] not in COMMANDS:
        return None
    if "://" in "".join(argv[1:2]) or not os.path.lexists(argv[0]) or argv[0] == "create":
        return argv[0]
    # A file has that name. It is meant only if the archive can be written: to a file, or to a pipe.
    to_file = any(each.startswith(("-o", "--output")) for each in argv)
    return None if to_file or sys.stdout is None or not sys.stdout.isatty() else argv[0]


def _with_numbers(argv: Sequence[str]) -> list[str]:
    """Join an option and its negative number, as in ``--level=-5``: argparse takes ``-5`` for an option."""
    joined: list[str] = []
    for each in argv:
        if joined and joined[-1] in ("--level", "--workers") and each[:1] == "-" and each[1:].isdecimal():
            joined[-1] += f"={each}"
        else:
            joined.append(each)
    return joined


def _run_top(top: Parser, argv: Sequence[str]) -> int:
    arguments = top.parse_args(argv)
    try:
        import shtab
    except ImportError:
        say("--print-completion needs the package shtab: install the extra 'cli'")
        return FAILED
    return print_text(shtab.complete(top, arguments.print_completion))


def _work(name: str, arguments: argparse.Namespace, parser: Parser) -> int:
    if name == "create":
        from . import create

        create.check(arguments, parser)
        return create.run(arguments)
    if name == "extract":
        from . import extract

        return extract.run(arguments)
    if name == "serve":
        from .serve import command

        return command.run(arguments)
    from . import read

    return read.run(name, arguments)
