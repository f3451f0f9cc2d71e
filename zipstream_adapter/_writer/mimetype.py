"""The ``mimetype`` member that identifies EPUB, ODF and similar files: first, stored, without extra fields.

Programs look for its data at byte 38 of the archive (EPUB 3.3, 4.2.2; OpenDocument 1.3, part 2, 3.3).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING
from zipfile import ZIP_STORED

from .._format.extra_fields import extra_fields
from .._format.records import ENCRYPTED_FLAG
from ..errors import EntryError
from .lookahead import ALWAYS_DESCRIPTOR, DEFAULT_LOOKAHEAD

if TYPE_CHECKING:
    from zipfile import ZipInfo

MIMETYPE = "mimetype"
# Extra fields that are removed from it: dates (0x5455; NTFS's 0x000A; 0x5855) and owners (0x7855, 0x7875).
_DISPENSABLE = {0x5455, 0x000A, 0x5855, 0x7855, 0x7875}


def is_mark(name: str, method: int, offset: int) -> bool:
    """Return whether a member at `offset` is such a ``mimetype`` member, if it is not encrypted."""
    return not offset and name == MIMETYPE and method == ZIP_STORED


def lookahead_for(name: str, offset: int, lookahead: int) -> int:
    """Return a member's lookahead: for ``mimetype`` at least the default, so that its header is complete."""
    is_mimetype = name == MIMETYPE and not offset and lookahead != ALWAYS_DESCRIPTOR
    return max(lookahead, DEFAULT_LOOKAHEAD) if is_mimetype else lookahead


def extra_of(info: ZipInfo) -> bytes:
    """Return a member's extra fields. A ``mimetype`` member loses dates and owners; other fields were asked for."""
    if not is_mark(info.filename, info.compress_type, info.header_offset) or info.flag_bits & ENCRYPTED_FLAG:
        return info.extra
    try:
        fields = extra_fields(info.extra)
    except EntryError:
        return info.extra
    kept = (struct.pack("<2H", kind, len(data)) + data for kind, data in fields if kind not in _DISPENSABLE)
    return b"".join(kept)
