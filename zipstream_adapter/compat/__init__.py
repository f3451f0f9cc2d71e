"""Programs written for other libraries keep running: one module for each, with its names, over this package.

- `compat.zipstream_ng`: zipstream-ng 1.9.x
"""
