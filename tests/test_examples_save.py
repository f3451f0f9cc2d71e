"""The examples that save: with progress bars, in a terminal, and a CSV file from a cursor."""

from __future__ import annotations

import csv
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.loops import module
from tests.support.oracles import members
from tests.support.servers import EXAMPLES
from tests.support.terminals import terminal

DATA = bytes(range(256)) * 40_000


@pytest.mark.parametrize("library", ["tqdm", "rich"])
def test_progress_bars_reach_their_end(tmp_path: Path, library: str) -> None:
    module(library)
    (tmp_path / "files/sub").mkdir(parents=True)
    (tmp_path / "files/a.bin").write_bytes(DATA)
    (tmp_path / "files/sub/b.txt").write_bytes(b"text")
    program = str(EXAMPLES / f"progress_{library}.py")
    with terminal(sys.executable, program, "files", "out.zip", cwd=tmp_path, columns=120) as seen:
        assert seen.end() == 0, seen.said
    assert members((tmp_path / "out.zip").read_bytes()) == {"a.bin": DATA, "sub/b.txt": b"text"}
    assert {"tqdm": "100%", "rich": "10.2/10.2 MB"}[library] in seen.said
    assert "sub/b.txt" in seen.said


def test_rows_of_a_cursor_become_csv(tmp_path: Path) -> None:
    rows = [(1, 'quotes " and, commas', None), (2, "two\nlines", 0.5), (3, "Grüße", "")]
    with closing(sqlite3.connect(tmp_path / "a.sqlite")) as connection, connection:
        connection.execute('CREATE TABLE "the table" (id, text, more)')
        connection.executemany('INSERT INTO "the table" VALUES (?, ?, ?)', rows)
    program = str(EXAMPLES / "csv_from_cursor.py")
    with terminal(sys.executable, program, "a.sqlite", "the table", "out.zip", cwd=tmp_path) as seen:
        assert seen.end() == 0, seen.said
    text = members((tmp_path / "out.zip").read_bytes())["the table.csv"].decode()
    found = [*csv.reader(text.splitlines(keepends=True))]
    assert found == [["id", "text", "more"], *[["" if value is None else str(value) for value in row] for row in rows]]
