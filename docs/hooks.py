"""Parts of pages that are generated while the site is built.

- ``<!-- commands -->`` becomes the command's options, exit statuses and examples, from its parser.
- ``<!-- file: NAME -->`` becomes the file NAME of the checkout, without its first heading.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_COMMANDS = "<!-- commands -->"
_FILE = re.compile(r"<!-- file: (\S+) -->")


def on_page_markdown(markdown: str, **more: Any) -> str:
    """Fill in the generated parts. mkdocs calls it for each page."""
    if _COMMANDS in markdown:
        markdown = markdown.replace(_COMMANDS, _commands())
    return _FILE.sub(lambda found: _without_heading(ROOT / found[1]), markdown)


def _commands() -> str:
    command = [sys.executable, "-m", "zipstream_adapter.cli.manual", "markdown"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def _without_heading(path: Path) -> str:
    return re.sub(r"\A# .*\n", "", path.read_text("utf-8"))
