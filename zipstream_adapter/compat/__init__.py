"""Programs written for other libraries keep running by one changed import: one module for each, which only translates.

- `zipstream_adapter.compat.aiozipstream`: aiozipstream 0.4
- `zipstream_adapter.compat.django_zip_stream`: ``TransferZipResponse`` and ``FolderZipResponse`` for nginx's mod_zip
- `zipstream_adapter.compat.push`: the push-style ``ZipStreamer``; ``StreamFile`` under a plain `zipfile.ZipFile`
- `zipstream_adapter.compat.spideroak`: SpiderOak's ZipStream
- `zipstream_adapter.compat.stream_zip`: stream-zip 0.0.8x
- `zipstream_adapter.compat.zipfly64`: zipFly64
- `zipstream_adapter.compat.zipstream`: zipstream 1.1.4 and zipstream-new 1.1.8
- `zipstream_adapter.compat.zipstream_ng`: zipstream-ng 1.9.x
- `zipstream_adapter.compat.zipstreamer`: zipstreamer

Each is imported by its own name. What is said of the archives of `stream_zip` is true of theirs.
"""
