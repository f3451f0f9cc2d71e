"""Files given by their paths: regular files, virtual files, growing files, and the archive itself.

Imports: `_format` and below.
Rule: A file is opened without waiting, and its kind is checked on the opened file.
"""
