"""Writes members and the end of an archive into a sink.

Imports: `_entries` and below.
Rule: The only package that writes an archive. When writing, only `zipfile_archive` touches private names of `zipfile`.
A failure poisons the archive: nothing is written after it.
"""
