"""Read and write archives in object stores and behind HTTP.

Archives are read by byte ranges and uploaded while they are made. Needs the extra ``s3``, which installs obstore,
botocore and urllib3; reading through a `fetch` function of the caller does not.
"""

from __future__ import annotations

from .reading.async_reader import member_stream, open_remote_async
from .reading.many_members import read_members, read_members_async
from .reading.zip_file import open_remote
from .uploading.compress_parts import CompressedEntries, compress_parts
from .uploading.object_writer import AsyncObjectWriter, ObjectWriter, open_object, open_object_async
from .uploading.upload import Uploaded, upload_zip
from .uploading.upload_async import upload_zip_async
from .uploading.upload_parts import PartsProgress, UploadToken, abort_upload, upload_parts
from .walk import walk_store

__all__ = [
    "AsyncObjectWriter",
    "CompressedEntries",
    "ObjectWriter",
    "PartsProgress",
    "UploadToken",
    "Uploaded",
    "abort_upload",
    "compress_parts",
    "member_stream",
    "open_object",
    "open_object_async",
    "open_remote",
    "open_remote_async",
    "read_members",
    "read_members_async",
    "upload_parts",
    "upload_zip",
    "upload_zip_async",
    "walk_store",
]
