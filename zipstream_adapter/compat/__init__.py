"""Programs written for other libraries keep running: one module for each, with its names, over this package.

- `compat.stream_zip`: stream-zip 0.0.8x
- `compat.zipstream_ng`: zipstream-ng 1.9.x
"""
