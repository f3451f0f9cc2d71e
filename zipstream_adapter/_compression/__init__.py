"""Coding of member data: compression methods, deflate engines, encryption and CRC-32.

Imports: `_format`, `_concurrency` and below.
Rule: Output depends on the data alone, not on how it was cut or which thread was fastest.
"""
