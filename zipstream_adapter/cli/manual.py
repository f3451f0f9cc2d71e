"""The man page, and the options as Markdown for the docs: ``python -m zipstream_adapter.cli.manual man|markdown``."""

from __future__ import annotations

import argparse
import sys

from .parser import DESCRIPTION, ENVIRONMENT, EXAMPLES, NOTES, PROG, STATUSES, TOP_EXAMPLES, Parser, build
from .version import version


def man() -> str:
    """Return the man page, in the man macros of roff."""
    _, commands = build()
    lines = [
        f'.TH {_roff(PROG.upper())} 1 "" "{PROG} {version()}" "User Commands"',
        ".SH NAME",
        f"{_roff(PROG)} \\- stream files into a zip archive while it is being made",
        ".SH SYNOPSIS",
    ]
    for parser in commands.values():
        lines += [".PP", f"\\fB{_roff(PROG)}\\fR {_roff((parser.usage or '').removeprefix(PROG).strip())}"]
    lines += [".SH DESCRIPTION", _roff(DESCRIPTION), ".PP", _roff(" ".join(NOTES.split()))]
    for name, parser in commands.items():
        lines += [f".SH COMMAND: {_roff(name.upper())}", _roff(parser.description or "")]
        for title, actions in _groups(parser):
            lines += [f".SS {_roff(title)}"] if title else []
            for action in actions:
                lines += [".TP", _roff_names(action), _roff(_help(action))]
        lines += [".SS Examples", *_roff_block(EXAMPLES[name])]
    lines += [".SH EXIT STATUS"]
    for number, text in STATUSES:
        lines += [".TP", f"\\fB{number}\\fR", _roff(text)]
    lines += [".SH ENVIRONMENT", _roff(" ".join(ENVIRONMENT.split()))]
    lines += [
        ".SH EXAMPLES",
        *_roff_block(TOP_EXAMPLES),
        ".SH SEE ALSO",
        ".BR zip (1),",
        ".BR unzip (1),",
        ".BR bsdtar (1)",
    ]
    return "\n".join(lines) + "\n"


def markdown() -> str:
    """Return the commands, their options, the exit statuses and the examples as Markdown."""
    _, commands = build()
    lines = [DESCRIPTION, "", *_code(TOP_EXAMPLES), "", " ".join(NOTES.split()), "", " ".join(ENVIRONMENT.split()), ""]
    for name, parser in commands.items():
        lines += [f"## {name}", "", f"{parser.description}", "", "```text", f"{parser.usage}", "```", ""]
        for title, actions in _groups(parser):
            lines += [f"### {name}: {title}", ""] if title else []
            lines += ["| Option | Meaning |", "|---|---|"]
            for action in actions:
                names = ", ".join(f"`{each}`" for each in _names(action))
                lines.append(f"| {names} | {_help(action).replace('|', chr(92) + '|')} |".replace("*", r"\*"))
            lines.append("")
        lines += [*_code(EXAMPLES[name]), ""]
    lines += ["## Exit status", "", "| Status | Meaning |", "|---|---|"]
    lines += [f"| {number} | {text} |" for number, text in STATUSES]
    return "\n".join(lines) + "\n"


def _groups(parser: Parser) -> list[tuple[str, list[argparse.Action]]]:
    """Return the groups of options that have any: (title, options). The first ones have no title."""
    found: list[tuple[str, list[argparse.Action]]] = []
    for group in parser._action_groups:
        actions = [each for each in group._group_actions if each.help != argparse.SUPPRESS]
        if actions:
            plain = group.title in ("positional arguments", "options")
            found.append(("" if plain else group.title or "", actions))
    plain_ones = [action for title, actions in found if not title for action in actions]
    return [("", plain_ones), *((title, actions) for title, actions in found if title)]


def _names(action: argparse.Action) -> list[str]:
    """Return the spellings of an option, the last one with its value."""
    if action.choices:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        value = str(action.metavar or action.dest.upper())
    if not action.option_strings:
        return [f"{value} ..." if action.nargs in ("*", "+") else value]
    names = list(action.option_strings)
    if len(names) > 3:
        names = [names[0], f"... {names[-1]}"]
    return names if action.nargs == 0 else [*names[:-1], f"{names[-1]} {value}"]


def _help(action: argparse.Action) -> str:
    text = (action.help or "").replace("%%", "%")
    return text[:1].upper() + text[1:] + "."


def _roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return "\\&" + text if text.startswith(".") else text


def _roff_names(action: argparse.Action) -> str:
    return ", ".join(f"\\fB{_roff(each)}\\fR" for each in _names(action))


def _roff_block(text: str) -> list[str]:
    lines = [line.removeprefix("  ") for line in text.splitlines()[1:]]
    return [".nf", *(_roff(line) for line in lines), ".fi"]


def _code(text: str) -> list[str]:
    return ["```sh", *(line.removeprefix("  ") for line in text.splitlines()[1:]), "```"]


def main(argv: list[str] | None = None) -> int:
    """Print the man page ("man") or the Markdown ("markdown"), as the only argument says."""
    kinds = {"man": man, "markdown": markdown}
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 1 or arguments[0] not in kinds:
        sys.stderr.write(f"give one of: {', '.join(kinds)}\n")
        return 2
    sys.stdout.write(kinds[arguments[0]]())
    return 0


if __name__ == "__main__":
    sys.exit(main())
