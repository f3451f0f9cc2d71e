"""One module per library that people move from: the same names and behaviour, this package's archives and guarantees.

- `push`: the push-style ``ZipStreamer``, and ``StreamFile`` under a plain `zipfile.ZipFile`.
- `django_zip_stream`: ``TransferZipResponse`` and ``FolderZipResponse`` for nginx's mod_zip.
- `zipfly64`: zipFly64.
- `zipstreamer`: zipstreamer.

Each is imported by its own name. They only translate: what is said of the archives is said of `stream_zip`, too.
"""
