"""Archives that lie elsewhere, in object stores and behind HTTP: read by ranges, and written as they are made.

Needs the extra ``s3``, which brings obstore; not where a function of the caller's fetches the ranges.
"""

from __future__ import annotations

from .remote_aio import member_stream, open_remote_async
from .remote_zip import open_remote

__all__ = ["member_stream", "open_remote", "open_remote_async"]
