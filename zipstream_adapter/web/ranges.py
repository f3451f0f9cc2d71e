"""Choose the status and the bytes to send for a request: RFC 9110 sections 13.2.2 (conditions) and 14.2 (ranges)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import NamedTuple

from .headers import MEDIA_TYPE, byte_ranges, etag_matches, http_date, in_seconds, quoted_etag

# A request with more ranges is answered with the whole archive: archive readers do not need more.
MOST_RANGES = 16


class Span(NamedTuple):
    """A byte range of a representation, from `start` up to but not including `stop`."""

    start: int
    stop: int

    def content_range(self, size: int) -> str:
        """Return the Content-Range value (RFC 9110 section 14.4). size: bytes of the whole representation."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


Piece = bytes | Span


def length(pieces: Sequence[Piece]) -> int:
    """Return the total length of `pieces` in bytes."""
    return sum(len(piece) if isinstance(piece, bytes) else piece.stop - piece.start for piece in pieces)


def condition(headers: Mapping[str, str], etag: str | None, last_modified: datetime | None) -> HTTPStatus | None:
    """Evaluate the request's conditions in the order of RFC 9110 section 13.2.2. Returns 304, 412, or None to go on.

    A date does not prove that an archive is unchanged: Last-Modified is the date of the newest member, and stays the
    same if an older member is replaced. So If-Modified-Since is ignored, and If-Unmodified-Since fails only if the
    archive is certainly newer. `spans` handles the other case.

    headers: request fields by lower-case name. etag, last_modified: of the archive that would be sent; None if unknown.
    """
    if "if-match" in headers:
        if not etag_matches(headers["if-match"], etag, weak=False):
            return HTTPStatus.PRECONDITION_FAILED
    elif last_modified and (date := _unmodified_since(headers)) and in_seconds(last_modified) > date:
        return HTTPStatus.PRECONDITION_FAILED
    if "if-none-match" in headers and etag_matches(headers["if-none-match"], etag, weak=True):
        return HTTPStatus.NOT_MODIFIED
    return None


def _unmodified_since(headers: Mapping[str, str]) -> datetime | None:
    """Return the date of If-Unmodified-Since; None if it is missing, malformed or overridden by If-Match."""
    return None if "if-match" in headers else http_date(headers.get("if-unmodified-since", ""))


def spans(method: str, headers: Mapping[str, str], etag: str | None, size: int) -> list[Span] | None:
    """Return the ranges to send, ascending and disjoint; [] if none can be satisfied (416); None for everything (200).

    Range applies to GET only, and is ignored if If-Range fails. If-Range must equal the strong entity-tag. A date in it
    always fails, because an archive's date is not a strong validator (RFC 9110 section 8.8.2.2; see `condition`). For
    the same reason Range is ignored beside If-Unmodified-Since, unless If-Match or If-Range holds. It is also ignored
    if the archive has no entity-tag: a client could not tell whether two ranges belong to the same archive.

    size: bytes of the archive.
    """
    if method != "GET" or "range" not in headers or etag is None:
        return None
    if "if-range" in headers:
        if headers["if-range"].strip() != quoted_etag(etag):
            return None
    elif _unmodified_since(headers):
        return None
    asked = byte_ranges(headers["range"])
    if asked is None or len(asked) > MOST_RANGES:
        return None
    return _joined([span for start, stop in asked if (span := _span(start, stop, size))])


def _span(start: int, stop: int | None, size: int) -> Span | None:
    """Clip a range to `size` bytes. A suffix longer than `size` is the whole. Returns None if nothing is left."""
    if start < 0:
        start = max(0, start + size)
    stop = size if stop is None else min(stop, size)
    return Span(start, stop) if start < stop else None


def _joined(found: list[Span]) -> list[Span]:
    """Join ranges that touch or overlap: a suffix can overlap the range before it."""
    joined: list[Span] = []
    for span in sorted(found):
        if joined and span.start <= joined[-1].stop:
            joined[-1] = Span(joined[-1].start, max(span.stop, joined[-1].stop))
        else:
            joined.append(span)
    return joined


def multipart(found: Sequence[Span], size: int, media_type: str = MEDIA_TYPE) -> tuple[str, list[Piece]]:
    """Return the media type and the pieces of a multipart/byteranges body (RFC 9110 section 14.6).

    size: bytes of the whole representation. media_type: of each part.
    """
    boundary = secrets.token_hex(16)
    pieces: list[Piece] = []
    for number, span in enumerate(found):
        head = f"--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {span.content_range(size)}\r\n\r\n"
        pieces += [("\r\n" * bool(number) + head).encode("ascii"), span]
    pieces.append(f"\r\n--{boundary}--\r\n".encode("ascii"))
    return f"multipart/byteranges; boundary={boundary}", pieces
