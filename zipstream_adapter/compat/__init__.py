"""Replacements for other zip streaming libraries: change one import and a program keeps running.

Each module only translates one library's interface:

- `zipstream_adapter.compat.aiozipstream`: aiozipstream 0.4
- `zipstream_adapter.compat.django_zip_stream`: ``TransferZipResponse`` and ``FolderZipResponse`` for nginx's mod_zip
- `zipstream_adapter.compat.push`: the push-style ``ZipStreamer``; ``StreamFile`` under a plain `zipfile.ZipFile`
- `zipstream_adapter.compat.spideroak`: SpiderOak's ZipStream
- `zipstream_adapter.compat.stream_zip`: stream-zip 0.0.84
- `zipstream_adapter.compat.zipfly64`: zipFly64
- `zipstream_adapter.compat.zipstream`: zipstream 1.1.4 and zipstream-new 1.1.8
- `zipstream_adapter.compat.zipstream_ng`: zipstream-ng 1.9.x
- `zipstream_adapter.compat.zipstreamer`: zipstreamer

Import each module by name. Archives have the same guarantees as those of `zipstream_adapter.stream_zip`.
"""
