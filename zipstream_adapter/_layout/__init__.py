"""Makes any byte range of an archive whose sizes are known in advance.

Imports: `_stream` and below.
Rule: The writer itself plans the archive, over a null sink; there is no second size calculation.
"""
