"""The command line: ``zipstream-adapter``. `parser` lists the commands and their options."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .printing import print_text
from .version import version


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns its exit status; see `parser.STATUSES`.

    argv: the arguments. Default: those of the process.
    """
    argv = sys.argv[1:] if argv is None else argv
    if [*argv] in (["--version"], ["-V"]):  # answered before anything large is imported
        return print_text(f"zipstream-adapter {version()}\n")
    try:
        from .run import run

        return run(argv)
    except KeyboardInterrupt:  # while `run` is still being imported
        sys.stderr.write("zipstream-adapter: interrupted\n")
        return 130
