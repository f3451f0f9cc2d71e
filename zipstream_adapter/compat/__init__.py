"""The interfaces of other libraries, so that a program written for one of them runs here by one changed import.

- `zipstream_adapter.compat.zipstream`: zipstream 1.1.4 and zipstream-new 1.1.8
- `zipstream_adapter.compat.aiozipstream`: aiozipstream 0.4
- `zipstream_adapter.compat.spideroak`: SpiderOak's ZipStream
"""
