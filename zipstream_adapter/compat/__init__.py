"""Programs written for other libraries keep running by one changed import: one module for each, which only translates.

- `zipstream_adapter.compat.aiozipstream`: aiozipstream 0.4
- `zipstream_adapter.compat.spideroak`: SpiderOak's ZipStream
- `zipstream_adapter.compat.stream_zip`: stream-zip 0.0.8x
- `zipstream_adapter.compat.zipstream`: zipstream 1.1.4 and zipstream-new 1.1.8
- `zipstream_adapter.compat.zipstream_ng`: zipstream-ng 1.9.x
"""
