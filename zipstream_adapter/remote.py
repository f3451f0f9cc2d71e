"""Archives that lie elsewhere, in object stores and behind HTTP: read by ranges, and written as they are made.

Needs the extra ``s3``, which brings obstore; not where a function of the caller's fetches the ranges.
"""

from __future__ import annotations

from .remote_aio import member_stream, open_remote_async
from .remote_zip import open_remote
from .store_entries import walk_store
from .upload import Uploaded, upload_zip
from .upload_aio import upload_zip_async
from .upload_workers import upload_parts

__all__ = [
    "Uploaded",
    "member_stream",
    "open_remote",
    "open_remote_async",
    "upload_parts",
    "upload_zip",
    "upload_zip_async",
    "walk_store",
]
