"""Upload archives to object stores while they are made.

Imports: the modules of `remote` and below.
Rule: A failure leaves no object and no unfinished upload.
"""
