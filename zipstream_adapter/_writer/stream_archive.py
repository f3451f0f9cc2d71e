"""StreamArchive: the archive that streams write into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zipfile import ZipInfo

from .._compression.codecs import CodecFactory
from .._format.central_directory import CentralDirectory
from .._format.records import LIMIT32, central_header
from .lookahead import ALWAYS_DESCRIPTOR, DEFAULT_LOOKAHEAD
from .zipfile_archive import StreamingZipFile

if TYPE_CHECKING:
    from .member import MemberWriter
    from .sink import StreamSink


# 256 MiB below 4 GiB: more than pending members can take. Below this, the next offset fits into 32 bits whatever their
# compressed size.
_NEAR_LIMIT32 = LIMIT32 - (1 << 28)


def is_near_limit(made: int) -> bool:
    """Return whether the next member may begin where zip64 is needed, after `made` bytes and any pending members."""
    return made > _NEAR_LIMIT32


class StreamArchive(StreamingZipFile):
    """The archive of a stream. It keeps a central directory header for each finished member instead of a ZipInfo.

    A header takes about 60 bytes and the name, a ZipInfo half a kilobyte. Only the stream has access to the archive, so
    nobody needs the ZipInfo later.

    Args:
        coding: makes the compressors, in place of those that the other options describe.
        offset: archive offset of the first byte.
    """

    sink: StreamSink
    # Dropping a stream closes it. When the interpreter ends, its archive may be freed before that.
    _warns_if_dropped = False

    def __init__(
        self, *, coding: CodecFactory | None = None, offset: int = 0, lookahead: int = DEFAULT_LOOKAHEAD, **options: Any
    ) -> None:
        self.directory = CentralDirectory()
        super().__init__(lookahead=0 if lookahead == ALWAYS_DESCRIPTOR else lookahead, **options)
        if lookahead == ALWAYS_DESCRIPTOR:
            self._lookahead = lookahead
        if coding is not None:
            self.coding = coding
        self.sink.begin_at(offset)

    def member_ended(self, info: ZipInfo | None) -> None:
        super().member_ended(None)
        if info is not None:
            self.directory.add(central_header(info))
            self.zip64_offsets.discard(info.header_offset)

    def _central_directory(self) -> CentralDirectory:
        return self.directory

    @property
    def member(self) -> MemberWriter | None:
        """The member that is open for writing."""
        return self._member

    @property
    def is_writing(self) -> bool:
        """Whether a member is open for writing."""
        return self._member is not None
