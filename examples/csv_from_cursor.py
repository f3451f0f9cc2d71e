"""A CSV file from a database cursor, row by row: however many rows there are, one is in memory.

Run it: python examples/csv_from_cursor.py DATABASE TABLE ARCHIVE
"""

import csv
import sqlite3
import sys
from contextlib import closing
from itertools import chain

from zipstream_adapter import save


class Encoder:
    """A "file" for csv.writer, whose writerow() returns what write() returns: the line as bytes."""

    write = staticmethod(str.encode)


def main(database: str, table: str, archive: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        quoted = table.replace('"', '""')
        cursor = connection.execute(f'SELECT * FROM "{quoted}"')
        rows = chain([[column[0] for column in cursor.description]], cursor)
        lines = map(csv.writer(Encoder()).writerow, rows)
        save(archive, [(f"{table}.csv", lines)], compression="deflate")


if __name__ == "__main__":
    main(*sys.argv[1:])
