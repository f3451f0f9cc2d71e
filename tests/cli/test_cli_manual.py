"""The man page and the Markdown of the options: made from the parser, and what is in the checkout is up to date."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.oracles import need
from zipstream_adapter.cli.manual import main, man, markdown
from zipstream_adapter.cli.parser import COMMANDS, STATUSES, build

PAGE = Path(__file__).parents[2] / "docs/man/zipstream-adapter.1"


def options() -> set[str]:
    _, commands = build()
    return {name for parser in commands.values() for action in parser._actions for name in action.option_strings}


def test_the_man_page_of_the_checkout_is_up_to_date() -> None:
    make = "python -m zipstream_adapter.cli.manual man > docs/man/zipstream-adapter.1"
    assert PAGE.read_text("utf-8") == man(), f"run: {make}"


def test_a_formatter_takes_the_man_page_and_shows_all_of_it() -> None:
    command = [need("groff"), "-man", "-Tutf8", "-ww", "-P-c", "-rLL=78n", str(PAGE)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=200)
    assert done.stderr == b""
    text = re.sub(r".\x08", "", done.stdout.decode())
    for option in options() - {f"-{number}" for number in range(1, 10)}:
        assert option in text
    for example in (
        "find . -name '*.jpg' -print0 | zipstream-adapter -@ --null -o jpg.zip",
        r"--bind 0.0.0.0 --port 8000 \ ",
    ):
        assert example.strip() in text
    assert "COMMAND: EXTRACT" in text and "EXIT STATUS" in text


def test_markdown_has_all_commands_options_and_statuses() -> None:
    text = markdown()
    for command in COMMANDS:
        assert f"\n## {command}\n" in text
    for option in options() - {f"-{number}" for number in range(1, 9)}:
        assert option in text
    for number, meaning in STATUSES:
        assert f"| {number} | {meaning} |" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.replace(r"\|", "").count("|") == 3 for line in rows)


def test_both_are_printed_by_the_module() -> None:
    for kind, made in {"man": man(), "markdown": markdown()}.items():
        done = subprocess.run(
            [sys.executable, "-m", "zipstream_adapter.cli.manual", kind], capture_output=True, check=True, timeout=200
        )
        assert done.stdout.decode() == made
    assert main(["html"]) == 2
