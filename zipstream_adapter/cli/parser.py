"""The commands and their options: the one source of the help, the completion, the man page and the docs."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn, get_args

from .._compression.engines import Engine
from .._entries.files.growing import GrownPolicy
from .._format.names import DuplicatePolicy, NamePolicy
from .printing import print_text

PROG = "zipstream-adapter"
DESCRIPTION = "Stream files and directories into a zip archive while it is being made; read, test and serve archives."
STATUSES = (
    (0, "All was done."),
    (1, "Failed: a line on standard error says why. Or files were left out under --ignore-errors, or members are bad."),
    (2, "The command line is wrong."),
    (130, "Interrupted (Ctrl-C). Nothing is left under the archive's name; 143 and 129 are SIGTERM and SIGHUP."),
    (141, "The reader of standard output has gone."),
)
NOTES = """\
'create' may be left out. If a file named like another command exists here,
the word means the file, unless a URL follows, or an archive would go to a
terminal; ./test is always the file.
"""
ENVIRONMENT = """\
URLs (s3://, gs://, az://, http://, https://, file://) need the extra 's3'.
Credentials, region and endpoint come from the environment, for example
AWS_REGION and AWS_ENDPOINT_URL.
"""
TOP_EXAMPLES = """\
examples:
  zipstream-adapter photos notes.txt -x '*.tmp' -o holiday.zip
  zipstream-adapter photos | ssh host 'cat > photos.zip'
  find . -name '*.jpg' -print0 | zipstream-adapter -@ --null -o jpg.zip
  pg_dump shop | zipstream-adapter - --name shop.sql -o s3://bucket/shop.zip
  zipstream-adapter list URL
  zipstream-adapter cat URL MEMBER | less
  zipstream-adapter extract holiday.zip -d holiday
  zipstream-adapter test holiday.zip
  zipstream-adapter serve photos
"""
EXAMPLES = {
    "create": """\
examples:
  zipstream-adapter photos notes.txt -x '*.tmp' -o holiday.zip
  zipstream-adapter photos -i '*.jpg' -0 -o photos.zip
  find . -name '*.jpg' -print0 | zipstream-adapter -@ --null -o jpg.zip
  pg_dump shop | zipstream-adapter - --name shop.sql -o shop.zip
  zipstream-adapter photos --password -o private.zip
  zipstream-adapter photos -o s3://bucket/photos.zip
""",
    "list": """\
examples:
  zipstream-adapter list holiday.zip
  zipstream-adapter list https://example.com/released.zip -i '*.txt'
""",
    "cat": """\
examples:
  zipstream-adapter cat holiday.zip notes.txt | less
  zipstream-adapter cat s3://bucket/logs.zip monday.log tuesday.log
""",
    "extract": """\
examples:
  zipstream-adapter extract holiday.zip -d holiday
  zipstream-adapter extract holiday.zip photos/sea/ notes.txt
  zipstream-adapter extract s3://bucket/photos.zip -i '*.jpg' -d photos
""",
    "test": """\
examples:
  zipstream-adapter test holiday.zip
  zipstream-adapter test https://example.com/released.zip
""",
    "serve": """\
examples:
  zipstream-adapter serve photos
  zipstream-adapter serve photos videos --bind 0.0.0.0 --port 8000 \\
      --password-file secret
""",
}
_REQUIRED = "the following arguments are required: "
PATTERN_HELP = "whose path within PATH, or whose name, matches PATTERN (*, ?, [...]). Can be repeated"


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line after the usage, and begin with the name of the program."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**options, allow_abbrev=False)

    def print_help(self, file: Any = None) -> None:
        """Write the help. Exit with an error if standard output is full, which argparse would ignore."""
        if file is not None or sys.stdout is None:
            super().print_help(file)
        elif status := print_text(self.format_help()):
            sys.exit(status)

    def error(self, message: str) -> NoReturn:
        if message.startswith(_REQUIRED):  # parse_intermixed_args also names optional arguments
            needed = [each for each in self._actions if not each.option_strings and each.nargs != "*"]
            message = _REQUIRED + ", ".join(str(each.metavar) for each in needed)
        self.print_usage(sys.stderr)
        self.exit(2, f"{PROG}: {message} (see {self.prog} --help)\n")


class _Digit(argparse.Action):
    """The options -0 to -9, which set the level."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        namespace.digit = int((option_string or "-0")[1:])


def build() -> tuple[Parser, dict[str, Parser]]:
    """Return the parser of the whole command line, and those of its commands by name."""
    top = Parser(
        prog=PROG,
        description=textwrap.fill(DESCRIPTION, 78),
        usage=f"{PROG} [COMMAND] ...",
        epilog=f"{NOTES}\n{ENVIRONMENT}\n{TOP_EXAMPLES}\n{_statuses()}",
    )
    top.add_argument("-V", "--version", action="store_true", help="show the version")
    top.add_argument(
        "--print-completion",
        metavar="SHELL",
        choices=("bash", "zsh", "fish"),
        help="print a completion script for bash, zsh or fish (extra 'cli')",
    )
    commands = top.add_subparsers(metavar="COMMAND", dest="command", title="commands", parser_class=Parser)
    made = {}
    for name, (summary, add) in _COMMANDS.items():
        made[name] = parser = commands.add_parser(
            name,
            prog=f"{PROG} {name}",
            usage=_USAGES[name],
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=EXAMPLES[name],
        )
        add(parser)
    return top, made


def _statuses() -> str:
    lines = ["exit status:"]
    for number, text in STATUSES:
        lines += textwrap.wrap(text, 76, initial_indent=f"  {number:<5}", subsequent_indent=" " * 7)
    return "\n".join(lines)


def _add_create(parser: Parser) -> None:
    _file(
        parser.add_argument(
            "paths", nargs="*", metavar="PATH", help="a file; a directory with everything in it; '-': standard input"
        )
    )
    _add_output(parser.add_argument_group("output"))
    _add_contents(parser.add_argument_group("what goes in"))
    _add_packing(parser.add_argument_group("how it is packed"))


def _add_output(group: Any) -> None:
    _file(
        group.add_argument(
            "-o",
            "--output",
            default="-",
            metavar="FILE",
            help="the archive; written to a temporary file in the same directory and renamed when complete. '-' "
            "(default) is standard output. An s3://, gs:// or az:// URL is an object (extra 's3')",
        )
    )
    group.add_argument(
        "--on-conflict",
        default=None,
        choices=("zip", "error", "replace"),
        help="if FILE exists: replace it if it is a zip archive or empty (zip, default), refuse (error), or replace "
        "any file (replace)",
    )
    group.add_argument("-f", "--force", action="store_true", help="the same as --on-conflict replace")
    group.add_argument("--dry-run", action="store_true", help="list what the archive would have; write nothing")
    _add_saying(group)


def _add_contents(group: Any) -> None:
    group.add_argument("-x", "--exclude", **_PATTERNS, help=f"leave out files and directories {PATTERN_HELP}")
    group.add_argument("-i", "--include", **_PATTERNS, help=f"take only files {PATTERN_HELP}")
    _file(
        group.add_argument(
            "-T",
            "--files-from",
            action="append",
            default=[],
            metavar="FILE",
            help="also take the paths that FILE lists, one a line. They keep their directories in their names; a "
            "directory among them is taken without its contents. '-' is standard input",
        )
    )
    group.add_argument(
        "-@",
        dest="files_from",
        action="append_const",
        const="-",
        help="the same as --files-from -",
    )
    group.add_argument("--null", action="store_true", help="the paths in lists end in NUL, as of find -print0")
    group.add_argument("--name", metavar="NAME", help="name of the member for '-', or for the only PATH (a file)")
    group.add_argument("--prefix", default="", metavar="DIR", help="put all members under DIR in the archive")
    group.add_argument(
        "--symlinks",
        default="follow",
        choices=("follow", "store", "skip"),
        help="symbolic links: follow (default; refuses links that leave the directory or form a loop), store as links, "
        "or skip",
    )
    group.add_argument(
        "--names",
        default="strict",
        choices=get_args(NamePolicy),
        help="unsafe names: strict (default) refuses names that are unsafe to extract, repair makes them safe. "
        "portable and repair-portable do the same, also for names that Windows or macOS cannot extract. allow stores "
        "any name. Names that are not UTF-8 are always percent-encoded, with a warning",
    )
    group.add_argument(
        "--duplicates",
        default="error",
        choices=get_args(DuplicatePolicy),
        help="duplicate names: refuse (error, default), add a number (rename), or store again (allow)",
    )
    group.add_argument(
        "--grown",
        default="error",
        choices=get_args(GrownPolicy),
        help="files that grow while they are read, such as logs: fail (error, default), or store the data they had at "
        "first (cut)",
    )
    group.add_argument("--skip-special", action="store_true", help="leave out sockets, named pipes and devices")
    group.add_argument(
        "--ignore-errors",
        action="store_true",
        help="leave out files that cannot be read, name each, and exit with status 1",
    )


def _add_packing(group: Any) -> None:
    digits = [f"-{number}" for number in range(10)]
    group.add_argument(
        *digits,
        dest="digit",
        action=_Digit,
        nargs=0,
        help="-0: do not compress; -1 (fastest) to -9 (smallest): the same as --level",
    )
    group.add_argument(
        "--compression",
        default=None,
        choices=("none", "stored", "deflate", "bzip2", "lzma", "zstd", "auto"),
        help="compression method (default: deflate). 'none' does not compress, in a form that can be read from a pipe. "
        "'auto' stores data that deflate hardly makes smaller. 'zstd' needs the extra 'zstd'",
    )
    group.add_argument(
        "--level",
        type=int,
        metavar="N",
        help="compression level: 0 to 9 (bzip2: 1 to 9; zstd: -131072 to 22). Default: the method's own",
    )
    group.add_argument(
        "--seekable",
        action="store_true",
        help="give deflated files of 1 MiB or more an index by which readers seek in them (SOZip); they become larger",
    )
    group.add_argument(
        "--engine",
        default="auto",
        choices=get_args(Engine),
        help="library that deflates. Default: the fastest installed one with output at most 1 %% larger than zlib's on "
        "average (single files: up to 3 %%)",
    )
    group.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="number of blocks compressed at the same time, each in a thread. Default: one per usable core. 0: do not "
        "use threads",
    )
    group.add_argument(
        "--password",
        action="store_true",
        help="encrypt with AES-256; the password is asked for at the terminal, twice (extra 'crypto')",
    )
    _file(
        group.add_argument(
            "--password-file",
            metavar="FILE",
            help="encrypt with AES-256; the password is the first line of FILE. '-' is standard input",
        )
    )


def _add_list(parser: Parser) -> None:
    _add_archive(parser)
    _add_member_patterns(parser)


def _add_cat(parser: Parser) -> None:
    _add_archive(parser)
    parser.add_argument("members", nargs="+", metavar="MEMBER", help="a member's name")
    _add_password(parser)


def _add_extract(parser: Parser) -> None:
    _add_archive(parser)
    parser.add_argument(
        "members", nargs="*", metavar="MEMBER", help="a member's name, or a directory's (default: all members)"
    )
    _directory(
        parser.add_argument(
            "-d", "--directory", default=".", metavar="DIR", help="where to extract to (default: here); made if missing"
        )
    )
    _add_member_patterns(parser)
    parser.add_argument(
        "--on-conflict",
        default=None,
        choices=("error", "skip", "replace"),
        help="files that exist: refuse before anything is written (error, default), keep them (skip), or replace them",
    )
    parser.add_argument("-f", "--force", action="store_true", help="the same as --on-conflict replace")
    _add_saying(parser)
    _add_password(parser)


def _add_test(parser: Parser) -> None:
    _add_archive(parser)
    parser.add_argument("members", nargs="*", metavar="MEMBER", help="a member's name (default: all members)")
    _add_saying(parser)
    _add_password(parser)


def _add_serve(parser: Parser) -> None:
    _file(parser.add_argument("paths", nargs="+", metavar="PATH", help="a directory, or a file"))
    parser.add_argument(
        "--bind", default="127.0.0.1", metavar="ADDRESS", help="address (default: 127.0.0.1, local only)"
    )
    parser.add_argument("--port", default=0, type=int, metavar="N", help="port (default: 0, any free one)")
    _file(
        parser.add_argument(
            "--password-file",
            metavar="FILE",
            help="ask for the password that is the first line of FILE (any user name; HTTP Basic)",
        )
    )
    parser.add_argument("--hidden", action="store_true", help="also show files whose names begin with a dot")
    parser.add_argument("-q", "--quiet", action="store_true", help="do not log requests")


_PATTERNS: dict[str, Any] = {"action": "append", "default": [], "metavar": "PATTERN"}

_COMMANDS: dict[str, tuple[str, Any]] = {
    "create": ("make an archive of files and directories (the default command)", _add_create),
    "list": ("list the members: size in bytes, date, name", _add_list),
    "cat": ("write the data of members, one after another, to standard output", _add_cat),
    "extract": ("write members to files, never outside of a directory", _add_extract),
    "test": ("read all members and check their sizes and CRC-32s", _add_test),
    "serve": ("serve directories as pages from which files, and zip archives, are downloaded", _add_serve),
}
COMMANDS: Sequence[str] = tuple(_COMMANDS)
_USAGES = {
    "create": f"{PROG} [create] [OPTION ...] PATH ...",
    "list": f"{PROG} list [OPTION ...] ARCHIVE",
    "cat": f"{PROG} cat [OPTION ...] ARCHIVE MEMBER ...",
    "extract": f"{PROG} extract [OPTION ...] ARCHIVE [MEMBER ...]",
    "test": f"{PROG} test [OPTION ...] ARCHIVE [MEMBER ...]",
    "serve": f"{PROG} serve [OPTION ...] PATH ...",
}


def _add_archive(parser: Parser) -> None:
    _file(parser.add_argument("archive", metavar="ARCHIVE", help="the archive: a path, or a URL (read by ranges)"))


def _add_member_patterns(parser: Parser) -> None:
    parser.add_argument("-x", "--exclude", **_PATTERNS, help="leave out members that match PATTERN. Can be repeated")
    parser.add_argument("-i", "--include", **_PATTERNS, help="take only members that match PATTERN. Can be repeated")


def _add_password(parser: Parser) -> None:
    parser.add_argument("--password", action="store_true", help="ask for the password of encrypted members")
    _file(
        parser.add_argument(
            "--password-file",
            metavar="FILE",
            help="the password is the first line of FILE; '-' is standard input",
        )
    )


def _add_saying(parser: Any) -> None:
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress line, no warnings; only errors")
    parser.add_argument("-v", "--verbose", action="store_true", help="name each member on standard error")


def _file(action: argparse.Action) -> None:
    """Let shells complete file names."""
    action.complete = {"bash": "_shtab_compgen_files", "zsh": "_files", "fish": "-F"}  # type: ignore[attr-defined]


def _directory(action: argparse.Action) -> None:
    """Let shells complete names of directories."""
    action.complete = {"bash": "_shtab_compgen_dirs", "zsh": "_files -/"}  # type: ignore[attr-defined]
