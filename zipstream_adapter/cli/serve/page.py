"""The HTML page of a directory. It needs no script, and names are escaped."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from ..terminal import shown_count, shown_name, shown_size
from .shelf import Item

_STYLE = """
:root { color-scheme: light dark; --text: #1d2025; --soft: #5b626d; --back: #fff; --card: #f6f7f9; --line: #e1e4e9;
  --link: #0b57b8; --act: #0b57b8; --on-act: #fff; --warn: #8f2c12; }
@media (prefers-color-scheme: dark) { :root { --text: #e8eaee; --soft: #a3abb8; --back: #15171b; --card: #1d2026;
  --line: #30353e; --link: #8fc1ff; --act: #8fc1ff; --on-act: #0c1a2b; --warn: #ffab91; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1.25rem 5rem; background: var(--back); color: var(--text);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: .2em; }
a:focus-visible, button:focus-visible, input:focus-visible { outline: 3px solid var(--link); outline-offset: 2px;
  border-radius: .25rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .25rem 0 0; overflow-wrap: anywhere; }
nav ol { display: flex; flex-wrap: wrap; gap: .1rem .45rem; list-style: none; margin: 0; padding: 0; color: var(--soft);
  font-size: .9rem; }
nav li + li::before { content: "/" / ""; margin-right: .45rem; color: var(--soft); }
nav li { overflow-wrap: anywhere; }
.note { color: var(--soft); margin: .15rem 0 1rem; }
.warning { color: var(--warn); border-left: 4px solid; padding: .25rem .75rem; margin: 0 0 1rem; }
.bar { position: sticky; top: 0; display: flex; flex-wrap: wrap; gap: .6rem; padding: .75rem 0; background: var(--back);
  border-bottom: 1px solid var(--line); z-index: 1; }
.bar button, .bar a { font: inherit; font-weight: 600; padding: .5rem 1rem; border-radius: .5rem; cursor: pointer;
  border: 1px solid var(--act); text-decoration: none; min-height: 2.75rem; display: inline-flex; align-items: center; }
.bar button { background: var(--act); color: var(--on-act); }
.bar a { background: none; color: var(--link); }
table { width: 100%; border-collapse: collapse; }
th, th.size, th.date { font-size: .8rem; font-weight: 600; color: var(--soft); padding: .6rem .5rem; }
th { text-align: left; }
td { padding: 0 .5rem; border-top: 1px solid var(--line); height: 2.75rem; }
tbody tr:hover, tbody tr:has(input:checked) { background: var(--card); }
td:first-child, th:first-child { width: 2.75rem; padding: 0; }
td label { display: flex; align-items: center; justify-content: center; width: 2.75rem; height: 2.75rem;
  cursor: pointer; }
input[type=checkbox] { width: 1.15rem; height: 1.15rem; margin: 0; accent-color: var(--act); cursor: pointer; }
.name { overflow-wrap: anywhere; }
.name a { display: block; padding: .55rem 0; text-decoration: none; }
.name a:hover { text-decoration: underline; }
.folder a { font-weight: 600; }
.folder a::after { content: "/" / ""; color: var(--soft); font-weight: 400; }
.size, .date { white-space: nowrap; text-align: right; font-variant-numeric: tabular-nums; color: var(--soft);
  font-size: .9rem; width: 1%; }
.date { padding-left: 1.5rem; }
.size a { display: inline-block; padding: .55rem 0; }
.empty { padding: 2.5rem 0; text-align: center; color: var(--soft); }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (max-width: 36rem) { body { padding: 1rem .75rem 4rem; } .clock { display: none; }
  .date { padding-left: .5rem; } h1 { font-size: 1.25rem; }
  .bar > * { flex: 1 1 auto; justify-content: center; padding: .5rem; white-space: nowrap; } }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def directory_page(title: str, names: Sequence[str], items: Sequence[Item], warning: str = "") -> bytes:
    """Return the page that lists `items`.

    Args:
        title: name of the top.
        names: the names that lead to the directory from the top.
        warning: a line above the list.
    """
    here = names[-1] if names else title
    folders = sum(item.is_dir for item in items)
    size = sum(item.size for item in items if not item.is_dir)
    counts = [shown_count(folders, "folder")] if folders else []
    if folders < len(items):
        counts.append(f"{shown_count(len(items) - folders, 'file')} ({shown_size(size)})")
    body = [
        _way(title, names),
        f"<h1>{_text(here)}</h1>",
        f'<p class="note">{_note(counts)}</p>',
        f'<p class="warning" role="alert">{escape(warning)}</p>' if warning else "",
        _table(items) if items else '<p class="empty">This folder is empty.</p>',
    ]
    return _page(here, "\n".join(filter(None, body)))


def _note(counts: list[str]) -> str:
    return f"{', '.join(counts)}. Several come as one zip." if counts else "Nothing is in here."


def error_page(heading: str, text: str) -> bytes:
    """Return the page of an error, with a link to the top."""
    return _page(
        heading, f'<h1>{escape(heading)}</h1>\n<p class="note">{escape(text)}</p>\n<p><a href="/">To the top</a></p>'
    )


def _page(title: str, body: str) -> bytes:
    text = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{_text(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
    return text.encode("utf-8", "replace")


def _way(title: str, names: Sequence[str]) -> str:
    """Return the links from the top to the directory."""
    if not names:
        return ""
    steps = []
    for depth, name in enumerate([title, *names[:-1]]):
        up = "../" * (len(names) - depth)
        steps.append(f'<li><a href="{up}">{_text(name)}</a></li>')
    return f'<nav aria-label="Way from the top"><ol>{"".join(steps)}</ol></nav>'


def _table(items: Sequence[Item]) -> str:
    rows = "\n".join(map(_row, items))
    return f"""<form method="get" action="./">
<div class="bar">
<button type="submit" name="zip" value="chosen">Download chosen</button>
<a href="./?zip=all">Download all</a>
</div>
<table>
<caption class="hidden">Files and folders</caption>
<thead><tr><th scope="col"><span class="hidden">Choose</span></th><th scope="col">Name</th>
<th scope="col" class="size">Size</th>
<th scope="col" class="date">Modified<span class="clock"> (UTC)</span></th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</form>"""


def _row(item: Item) -> str:
    name, spelled = _text(item.name), quote(os.fsencode(item.name), safe="")
    date = item.modified
    shown_date = f'{date:%Y-%m-%d}<span class="clock"> {date:%H:%M}</span>'
    if item.is_dir:
        link = f'<a href="./{spelled}/">{name}</a>'
        size = f'<a href="./{spelled}/?zip=all" aria-label="Download the folder {name} as zip">zip</a>'
    else:
        link, size = f'<a href="./{spelled}" download>{name}</a>', shown_size(item.size)
    return (
        f'<tr><td><label><input type="checkbox" name="name" value="{spelled}">'
        f'<span class="hidden">Choose {name}</span></label></td>'
        f'<td class="name{" folder" if item.is_dir else ""}">{link}</td><td class="size">{size}</td>'
        f'<td class="date"><time datetime="{date:%Y-%m-%dT%H:%M:%SZ}">{shown_date}</time></td></tr>'
    )


def _text(name: str) -> str:
    """Return a name as HTML. It cannot end a tag or a line, or change the direction of the text around it."""
    shown = shown_name(name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    return f"<bdi>{escape(shown)}</bdi>" if not shown.isascii() else escape(shown)
