"""ArchiveWriter: adds members to an archive.

A member whose data ended within the batch limit is written whole, by a `MemberBatch`; a longer one is streamed, by a
`MemberWriter`. The bytes are the same.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING
from zipfile import ZIP_STORED, ZipInfo

from .._compression.block_deflate import BLOCK
from .._compression.codec import COMPRESSION_EFFORT
from .._compression.methods import UNCOMPRESSED
from .._entries.entry import PlainEntry
from .._entries.inspection import size_of_chunks, size_to_read
from .._format.names import NameRegistry
from .._format.records import LIMIT32, end_signature_in
from .._format.sozip import LEAST_MEMBER
from .._format.timestamps import EARLIEST, DosDateTime, default_date
from .member_batch import About, Code, MemberBatch, RecordKey
from .zipinfo import apply_entry, with_extra

if TYPE_CHECKING:
    from datetime import datetime

    from .._entries.entry import Entry
    from .._entries.source import FileFacts
    from .member import MemberWriter
    from .options import Options
    from .stream_archive import StreamArchive


class ArchiveWriter:
    """Adds members to `archive`. Call `settle` before anything else is written to it.

    has_one_date: whether all members without a date get the same.

    Attributes:
        names: the names in the archive.
    """

    def __init__(self, archive: StreamArchive, options: Options, *, has_one_date: bool = False) -> None:
        self.names = NameRegistry(options.names, options.duplicates)
        self._archive = archive
        self._options = options
        self._batch = MemberBatch(
            archive, options.lookahead, timestamps=options.extended_timestamps, make_zipinfo=options.make_zipinfo
        )
        self._crc32 = self._batch.crc32
        self._ways: dict[tuple[int, int | None], tuple[Code | None, int]] = {}
        self._way = self._way_of(archive.compression, options.level)
        self._plain_limit = 0 if options.password is not None else self._way[1]
        self._has_cache = options.checksums is not None
        self._key: RecordKey | None = None  # of the last member
        self._plain_key = RecordKey(None)  # of a file with nothing but a name and data
        # Date, mode and key of the last file that has only these besides a name and data.
        self._dated: tuple[datetime | None, int | None, RecordKey] = None, None, self._plain_key
        self._tail = b""  # the extra fields and the comment of `_key`, unless the writer alone made them
        self._second, self._now = -1, EARLIEST  # of the default date
        self._has_one_date = has_one_date

    def limit(self, entry: Entry) -> int:
        """Return the bytes of data from which the member of `entry` is streamed; 0: always."""
        if isinstance(entry, PlainEntry) and not self._has_cache:
            return self._plain_limit
        if entry.seekable:
            self._options.seeking_of(entry)  # refuses an entry that cannot have an index
            return 0
        if entry.is_raw or (not self._plain_limit and self._options.password_of(entry)) or entry.password:
            return 0
        limit = self._way_for(entry)[1]
        if self._has_cache and isinstance(entry.source, os.PathLike):
            limit = min(limit, self._options.lookahead + 1)  # the header of a larger member can have a cached CRC-32
        if (entry.zip64 is False and self._batch.is_near_limit) or (entry.size is not None and entry.size >= limit):
            return 0
        return limit

    def plain_room(self) -> int:
        """Return the bytes of data from which `add_plain` does not add a file that it is asked to add next."""
        code, batch = self._way[0], self._batch
        if self._has_cache or batch.code_in_use not in (None, code):
            return 0
        return min(self._plain_limit, BLOCK - batch.gathered_size + 1)

    def add_plain(self, name: str, data: bytes, date: datetime | None = None, mode: int | None = None) -> bool:
        """`add` a file that has only a name, data, and maybe a date and a mode, if that is little work.

        Returns False, and does nothing, if it needs an Entry, or if gathered members must be compressed first.

        Raises the errors of `NameRegistry.resolve`.
        """
        size = len(data)
        if size >= self._plain_limit or type(name) is not str or name[-1:] == "/":
            return False
        code, batch = self._way[0], self._batch
        in_use = batch.code_in_use
        if in_use is not None and (in_use is not code or batch.gathered_size + size > BLOCK):
            return False
        if int(time.time()) != self._second:
            self._renew_date()
        key = self._plain_key if date is None and mode is None else self._dated_key(date or self._now, mode)
        resolved = self.names.resolve(name, takes=True)
        if resolved is not None:
            if code is None:
                batch.write(resolved.encode(), size, self._crc32(data, 0), key, ZIP_STORED, data, size)
            else:
                batch.code(resolved.encode(), data, self._crc32(data, 0), key, code)
        return True

    def add(
        self,
        entry: Entry,
        name: str,
        data: bytes,
        facts: FileFacts | None,
        *,
        is_size_known: bool,
        at_once: bool,
        most: int | None = None,
    ) -> bool | None:
        """Write the member of `entry` whole. Returns False, and does nothing, if it must be streamed.

        Args:
            name: the member's name, as the policies gave it.
            facts: facts about the file that the data is from.
            is_size_known: whether the source knew the size before the data was read.
            at_once: whether to compress it now, instead of together with others.
            most: bytes of stored data (or 1/64 of it, if it is compressed) up to which the member is written. If it is
                more work, nothing is done, and None returned.
        """
        code, limit = self._way_for(entry)
        size = len(data)
        if most is not None:
            in_use = self._batch.code_in_use
            if in_use is not None and (in_use is not code or self._batch.gathered_size + size > BLOCK):
                return None  # gathered members are compressed before
            if size > most or (at_once and code is not None and size * COMPRESSION_EFFORT > most):
                return None
        if size >= limit or (entry.size is not None and entry.size != size):
            return False
        crc, is_dir = self._crc32(data, 0), name[-1:] == "/"
        if type(entry) is PlainEntry and facts is None and not is_dir:
            if int(time.time()) != self._second:
                self._renew_date()
            self.names.take(name)
            if code is None:
                self._batch.store(name.encode(), data, crc, self._plain_key)
            else:
                self._put(name.encode(), data, crc, self._plain_key, code, at_once)
            return True
        if (entry.crc32 is not None and entry.crc32 != crc) or (is_dir and size):
            return False
        encoded, is_declared = name.encode(), entry.crc32 is not None and (is_size_known or entry.size is not None)
        key = self._key_of(entry, encoded, facts, is_declared)
        if key is None:
            return False
        self.names.take(name, is_link=entry.is_link)
        self._put(encoded, data, crc, key, None if is_dir else code, at_once)
        return True

    def skip(
        self,
        entry: Entry,
        name: str,
        size: int,
        coded: int,
        crc: int | None,
        facts: FileFacts | None,
        *,
        method: int,
        is_declared: bool,
    ) -> bool:
        """`add` a member without its data, for a sink that only counts bytes. Its name is already taken.

        Args:
            size, coded: bytes of data, and bytes in the archive.
            crc: CRC-32 of the data, if known.
            is_declared: whether a stream knows size and CRC-32 before the data.
        """
        if entry.is_raw or self._options.password_of(entry) or max(size, coded) >= LIMIT32:
            return False
        if entry.zip64 is False and self._batch.is_near_limit:
            return False
        encoded = name.encode()
        key = self._key_of(entry, encoded, facts, is_declared)
        if key is None:
            return False
        self._batch.skip(encoded, size, coded, crc or 0, key, method)
        return True

    def _key_of(self, entry: Entry, name: bytes, facts: FileFacts | None, is_declared: bool) -> RecordKey | None:
        """Return the metadata of the entry's member. None if it must be refused, which a MemberWriter does."""
        date, mode = self.described(entry, facts)
        extra = entry.extra
        if date.microsecond:  # no header stores them
            date = date.replace(microsecond=0)
        about = date, type(date) is DosDateTime, mode, extra, entry.comment, name[-1:] == b"/"
        zip64, key = bool(entry.zip64), self._key
        if key is None or key[0] != about or key[1] is not zip64 or key[2] is not is_declared:
            known = About(*about)
            key = self._key = RecordKey(known, zip64, is_declared)
            has_tail = extra or entry.comment
            self._tail = self._extra_of(known) + entry.comment if has_tail else b""
        return None if self._tail and end_signature_in(name[-3:] + self._tail) else key

    def _dated_key(self, date: datetime, mode: int | None) -> RecordKey:
        """Return the metadata of a file with nothing but a date and a mode."""
        last_date, last_mode, key = self._dated
        is_same = date is last_date or (date == last_date and type(date) is type(last_date))
        if not is_same or mode != last_mode:
            whole = date.replace(microsecond=0) if date.microsecond else date  # no header stores them
            key = RecordKey(About(whole, type(date) is DosDateTime, mode, b"", b"", False))
            self._dated = date, mode, key
        return key

    def _put(self, name: bytes, data: bytes, crc: int, key: RecordKey, code: Code | None, at_once: bool) -> None:
        if code is None:
            self._batch.store(name, data, crc, key)
        elif at_once:
            self._batch.code_now(name, data, crc, key, code)
        else:
            self._batch.code(name, data, crc, key, code)

    def begin(
        self, entry: Entry, name: str, size: int | None, facts: FileFacts | None, crc32: int | None
    ) -> tuple[ZipInfo, MemberWriter]:
        """Begin to stream the member of `entry`; returns its ZipInfo and its writer.

        Args:
            name: the member's name, as the policies gave it.
            size: bytes of data, if the source knows.
            facts: facts about the file that the data is from.
            crc32: CRC-32 of the data, if it is cached.
        """
        size = size_to_read(entry, size)
        options = self._options
        info = options.zipinfo_of(name, *self.described(entry, facts), self._archive.compression)
        apply_entry(info, entry)
        if size is None and info.compress_type == UNCOMPRESSED:
            size = size_of_chunks(entry.source)  # which decides on the method, also in a layout
        if info.compress_type not in (ZIP_STORED, UNCOMPRESSED):
            crc32 = None  # of no use: a complete header also needs the compressed size
        return info, self._archive.begin(
            info,
            level=options.level if entry.level is None else entry.level,
            size=size if options.pinned or facts is None else entry.source_size,
            crc32=crc32 if entry.crc32 is None else entry.crc32,
            zip64=entry.zip64,
            pinned=facts is not None and options.pinned,
            raw_size=entry.size if entry.is_raw and entry.compression != ZIP_STORED else None,
            password=options.password_of(entry),
            seeking=options.seeking_of(entry),
        )

    def described(self, entry: Entry, facts: FileFacts | None) -> tuple[datetime, int | None]:
        """Return the date and the mode of the entry's member. facts: facts about its file."""
        date, mode = entry.modified, entry.mode
        if facts is not None:
            date, mode = date or facts.modified, facts.mode if mode is None else mode
        return date or self._default_date(), mode

    @property
    def is_settled(self) -> bool:
        """Whether no member waits to be compressed."""
        return self._batch.is_settled

    def tell(self) -> int:
        """Return the archive offset of the next member. This compresses pending members."""
        return self._batch.tell()

    def settle(self) -> None:
        """Write all members that were added."""
        self._batch.settle()

    def close(self) -> None:
        """Discard members that were not written."""
        self._batch.close()

    def _extra_of(self, about: About) -> bytes:
        info = self._options.zipinfo_of("x", about.date, about.mode, ZIP_STORED)
        return with_extra(info.extra, about.extra) if about.extra else info.extra

    def _way_for(self, entry: Entry) -> tuple[Code | None, int]:
        method, level = entry.compression, entry.level
        if method is None and level is None:
            return self._way
        method = self._archive.compression if method is None else method
        return self._way_of(method, self._options.level if level is None else level)

    def _way_of(self, method: int, level: int | None) -> tuple[Code | None, int]:
        """Return (the function that compresses a batch, the size in bytes from which members are streamed).

        The function is None if members are stored. The size is 0 if all such members are streamed.
        """
        way = self._ways.get((method, level))
        if way is None:
            limit = min(self._batch.limit(method, level), self._options.batch_limit)
            if self._options.seekable:
                limit = min(limit, LEAST_MEMBER)
            code = self._batch.coder(method, level) if limit and method not in (ZIP_STORED, UNCOMPRESSED) else None
            way = self._ways[method, level] = code, limit
        return way

    def _default_date(self) -> datetime:
        if int(time.time()) != self._second and not (self._has_one_date and self._second >= 0):
            self._renew_date()
        return self._now

    def _renew_date(self) -> None:
        self._now, self._second = default_date().replace(microsecond=0), int(time.time())
        self._plain_key = RecordKey(About(self._now, False, None, b"", b"", False))
