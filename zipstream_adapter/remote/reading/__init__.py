"""Read archives by byte ranges.

Imports: the modules of `remote` and below.
Rule: A request fetches the bytes that are read, and little else.
"""
