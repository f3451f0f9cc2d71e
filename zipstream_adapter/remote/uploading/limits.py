"""What a kind of store allows for an upload by parts."""

from __future__ import annotations

from typing import Any, NamedTuple

_MIB = 1 << 20
MIN_PART_SIZE = 5 * _MIB


class UploadLimits(NamedTuple):
    """Limits of an upload by parts.

    Attributes:
        parts: most parts of an object.
        part_size: most bytes of a part. At least 5 MiB.
        size: most bytes of an object.
    """

    parts: int
    part_size: int
    size: int


# Of S3 and of Google's buckets (Amazon S3 User Guide, "Amazon S3 multipart upload limits"). All parts but the last have
# the same size, as Cloudflare R2 requires.
S3_LIMITS = UploadLimits(10_000, 5120 * _MIB, 5 << 40)
# Of Azure, whose parts are blocks ("Scalability and performance targets for Blob storage").
AZURE_LIMITS = UploadLimits(50_000, 4000 * _MIB, 50_000 * 4000 * _MIB)


def limits_of(store: Any) -> UploadLimits:
    """Return the limits of an obstore store."""
    return AZURE_LIMITS if type(store).__name__ == "AzureStore" else S3_LIMITS
