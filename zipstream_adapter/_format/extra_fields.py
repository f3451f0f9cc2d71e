"""Extra fields (APPNOTE 4.5)."""

from __future__ import annotations

import struct

from ..errors import EntryError


def extra_fields(extra: bytes) -> list[tuple[int, bytes]]:
    """Split `extra` into (header ID, data) of each extra field (APPNOTE 4.5.1).

    Raises EntryError if it is malformed.
    """
    fields, at = [], 0
    while at < len(extra):
        if at + 4 > len(extra):
            raise EntryError(
                f"the extra is malformed: {len(extra) - at} bytes are left over at byte {at}: give whole fields "
                "(header ID, size, data)"
            )
        kind, size = struct.unpack_from("<2H", extra, at)
        if at + 4 + size > len(extra):
            raise EntryError(
                f"the extra is malformed: field {kind:#06x} at byte {at} has a size of {size} bytes, "
                f"but only {len(extra) - at - 4} are left"
            )
        fields.append((kind, extra[at + 4 : at + 4 + size]))
        at += 4 + size
    return fields
