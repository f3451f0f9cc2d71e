"""The zip format as pure functions: values to bytes and back (APPNOTE).

Imports: errors, `_checks`.
Rule: No I/O, no options. Signatures, struct formats and zip64 limits are defined here and nowhere else.
"""
