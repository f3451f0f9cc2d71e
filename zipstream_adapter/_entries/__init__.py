"""Turns what users pass as entries into `Entry` objects, and their sources into chunks of bytes.

Imports: `_compression` and below.
Rule: The packages above see only `Entry`. A source is opened when its member's turn comes, and closed once.
"""
