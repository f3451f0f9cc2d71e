"""Write the header fields of a zip download, and parse those of a request.

werkzeug (extra ``web``) does the quoting and formats dates. This module adds the stricter checks it does not make.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias
from urllib.parse import quote

from .._checks import count_of, typed_repr
from ..errors import EntryTypeError, OptionError

try:
    from werkzeug import http
except ImportError as exc:
    raise ImportError(
        "zipstream_adapter.web needs werkzeug: install the extra 'web' (pip install 'zipstream-adapter[web]')"
    ) from exc

MEDIA_TYPE = "application/zip"
NOT_COMPRESSED = {"Content-Encoding": "identity"}
NOT_BUFFERED = {"X-Accel-Buffering": "no"}
DEFAULT_FILENAME = "download.zip"
# Bytes in UTF-8: the limit of common file systems. Percent-encoded, such a name still fits the buffers of proxies.
_MAX_FILENAME = 255
# RFC 8187 section 3.2.1: attr-char except letters and digits.
_ATTR_CHARS = "!#$&+-.^_`|~"
# Characters that clients read differently in a quoted string (RFC 6266 appendix D), or treat as quotes or wildcards.
_AMBIGUOUS = re.compile(r"""["'%*/:<>?\\|]|[^ -~]""")
# Unicode categories: control characters, lone surrogates, line separators, paragraph separators.
_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
_ETAG = re.compile(r"[!#-~]+")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(r"(?:[!-~](?:[ \t!-~]*[!-~])?)?")
# RFC 9110 sections 5.6.3, 8.8.3, 5.6.1.2, 5.6.7, 14.1.1.
_OWS = " \t"
_ENTITY_TAG = re.compile(r'(W/)?"([!#-~\x80-\xff]*)"')
_ETAGS = re.compile(rf"[ \t,]*{_ENTITY_TAG.pattern}(?:[ \t]*,[ \t,]*{_ENTITY_TAG.pattern})*[ \t,]*")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY, _MONTH, _YEAR = "(?P<day>[0-9]{2})", f"(?P<month>{'|'.join(_MONTHS)})", "(?P<year>[0-9]{4})"
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_HTTP_DATES = (
    re.compile(f"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), {_DAY} {_MONTH} {_YEAR} {_TIME} GMT"),
    re.compile(f"(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, {_DAY}-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"),
    re.compile(f"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) {_MONTH} (?P<day>[0-9 ][0-9]) {_TIME} {_YEAR}"),
)
_BYTE_RANGE = re.compile("([0-9]+)-([0-9]*)|-([0-9]+)")
_MAX_DIGITS = 25
# Fields computed from the archive and the request.
_COMPUTED = {"accept-ranges", "content-disposition", "content-length", "content-range", "etag", "last-modified"}
# Fields that belong to the connection (RFC 9110 section 7.6.1).
_HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}


class _HeaderMapping(Protocol):
    def items(self) -> Iterable[tuple[str | bytes, str | bytes]]: ...


# A mapping (any framework's), or pairs.
HeaderFields: TypeAlias = _HeaderMapping | Iterable[tuple[str | bytes, str | bytes]]


def zip_headers(
    filename: str, *, size: int | None = None, etag: str | None = None, last_modified: datetime | None = None
) -> dict[str, str]:
    """Return the header fields of a response that carries a complete archive.

    Args:
        filename: the name of the downloaded file: any Unicode without path separators and control characters, at most
            255 bytes in UTF-8. ``Content-Disposition`` carries it as RFC 6266 specifies. Unless all its
            characters are safe ASCII, it is sent twice: in ASCII for old clients, and exactly as ``filename*`` (RFC
            8187).
        size: size of the archive in bytes, sent as Content-Length. Without it, HTTP/1.1 uses chunks, and a client may
            not notice a missing end.
        etag: the opaque tag without quotes; must be a strong validator (RFC 9110 section 8.8.1). If `size` is also
            given, ``Accept-Ranges: bytes`` announces range requests, which `respond` supports for layouts.
        last_modified: a datetime (UTC if naive), sent in whole seconds. A future date is sent as the current time.

    ``Cache-Control: no-transform`` prevents proxies from compressing the archive. ``Content-Encoding: identity`` does
    the same for middleware that does not know no-transform: Django, Starlette and Flask-Compress skip responses with a
    Content-Encoding. The value means "not encoded". RFC 9110 section 8.4.1 says it should not be sent; clients ignore
    it. ``X-Accel-Buffering: no`` prevents nginx from buffering a stream. It also disables nginx's cache, so it is left
    out if an `etag` is given.

    Raises:
        OptionError: a value is not allowed.
        EntryTypeError: a value has the wrong type.
    """
    fields = {
        "Content-Type": MEDIA_TYPE,
        "Content-Disposition": content_disposition(filename),
        "Cache-Control": "no-transform",
        **NOT_COMPRESSED,
    }
    if etag is None:
        fields |= NOT_BUFFERED
    if size is not None:
        fields["Content-Length"] = _decimal(size)
    if etag is not None:
        fields["ETag"] = quoted_etag(etag)
    if last_modified is not None:
        fields["Last-Modified"] = http.http_date(min(in_seconds(last_modified), datetime.now(UTC)))
    if size is not None and etag is not None:
        fields["Accept-Ranges"] = "bytes"
    return fields


def content_disposition(filename: str) -> str:
    """Return the Content-Disposition value of an attachment (RFC 6266 section 4), with an ASCII fallback name."""
    check_filename(filename)
    plain = "".join(char for char in unicodedata.normalize("NFKD", filename) if not unicodedata.combining(char))
    plain = _AMBIGUOUS.sub("_", plain)
    if not plain.strip(". "):
        plain = DEFAULT_FILENAME
    # Always quoted: some clients expect quotes around a token, too.
    value = f"attachment; filename={http.quote_header_value(plain, allow_token=False)}"
    if plain == filename:
        return value
    return http.dump_options_header(value, {"filename*": f"UTF-8''{quote(filename, safe=_ATTR_CHARS)}"})


def check_filename(filename: str) -> None:
    """Reject a name that is empty, could end the header field or could leave the download directory."""
    if not isinstance(filename, str):
        raise EntryTypeError(f"filename={typed_repr(filename)}: give a str")
    fault = None
    if not filename.strip(". "):
        fault = "it is empty or has only dots and spaces"
    elif "/" in filename or "\\" in filename:
        fault = "it contains a path separator, at which clients would cut it"
    elif bad := next((char for char in filename if unicodedata.category(char) in _UNPRINTABLE), None):
        fault = f"it contains the control character or surrogate {bad!r}"
    elif len(filename.encode()) > _MAX_FILENAME:
        fault = f"it has {len(filename.encode())} bytes in UTF-8, more than the limit of {_MAX_FILENAME}"
    if fault:
        raise OptionError(f"filename={filename[:300]!r}: {fault}. Give a plain file name, as in 'photos.zip'")


def quoted_etag(etag: str) -> str:
    """Return `etag` in quotes; reject a value that is not an opaque-tag (RFC 9110 section 8.8.3)."""
    if not isinstance(etag, str):
        raise EntryTypeError(f"etag={typed_repr(etag)}: give a str")
    if not _ETAG.fullmatch(etag):
        raise OptionError(f"etag={etag[:80]!r}: give visible ASCII characters, without spaces, quotes and W/")
    return http.quote_etag(etag)


def in_seconds(date: datetime) -> datetime:
    """Return `date` (UTC if naive) in UTC and whole seconds, the precision of header fields."""
    if not isinstance(date, datetime):
        raise EntryTypeError(f"last_modified={typed_repr(date)}: give a datetime")
    date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    return date.replace(microsecond=0)


def _decimal(size: int) -> str:
    number = count_of(size)
    if number is None:
        raise OptionError(f"size={size!r}: give a whole number of bytes, or None if it is unknown")
    return str(number)


def check_extra(extra: Mapping[str, str]) -> dict[str, str]:
    """Reject user-supplied fields that cannot be sent unchanged or would contradict computed fields."""
    if not isinstance(extra, Mapping):
        raise EntryTypeError(f"extra header fields {typed_repr(extra)}: give a mapping from name to value")
    for name, value in extra.items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise OptionError(f"header {name!r}: not a valid field name (RFC 9110 section 5.1)")
        if not isinstance(value, str) or not _FIELD_VALUE.fullmatch(value):
            raise OptionError(f"header {name}: {value!r}: give printable ASCII on one line")
        if name.lower() in _COMPUTED | _HOP_BY_HOP:
            raise OptionError(f"header {name}: computed from the archive, the request or the connection: leave it out")
    return dict(extra)


def merged_headers(fields: dict[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """Return `fields` updated with `extra`. ``no-transform`` is kept in Cache-Control."""
    given = {name.lower() for name in extra}
    merged = {name: value for name, value in fields.items() if name.lower() not in given} | dict(extra)
    for name in merged:
        if name.lower() == "cache-control" and "no-transform" not in merged[name].lower():
            merged[name] += ", no-transform"
    return merged


def by_lower_name(headers: HeaderFields) -> Mapping[str, str]:
    """Return a read-only mapping from lower-case name to value; values of one name are joined (RFC 9110 section 5.3).

    headers: a mapping (any framework's) or an iterable of pairs; names and values are str, or bytes as in ASGI.
    """
    pairs: Any = headers.items() if hasattr(headers, "items") else headers
    found: dict[str, str] = {}
    for name, value in pairs:
        key, text = _text(name).lower(), _text(value)
        found[key] = f"{found[key]}, {text}" if key in found else text
    return MappingProxyType(found)


def _text(value: str | bytes) -> str:
    if not isinstance(value, str | bytes):
        raise EntryTypeError(f"header fields of the request: {typed_repr(value)} is neither str nor bytes")
    return value if isinstance(value, str) else value.decode("latin-1")


# Request fields. A malformed field is ignored.


def etag_matches(value: str, etag: str | None, *, weak: bool) -> bool:
    """Return whether the If-Match or If-None-Match `value` is ``*`` or lists `etag` (RFC 9110 section 8.8.3.2).

    weak: whether a weak tag in `value` also matches; `etag` itself is strong. A tag without quotes is malformed
    (section 8.8.3) and matches nothing.
    """
    value = value.strip(_OWS)
    if value == "*":
        return True
    if etag is None or not _ETAGS.fullmatch(value):
        return False
    return any(tag == etag and (weak or not mark) for mark, tag in _ENTITY_TAG.findall(value))


def http_date(value: str) -> datetime | None:
    """Parse an HTTP-date (RFC 9110 section 5.6.7). Returns None if `value` is not exactly one HTTP-date."""
    value = value.strip(_OWS)
    found = next(filter(None, (form.fullmatch(value) for form in _HTTP_DATES)), None)
    if found is None:
        return None
    year, month = int(found["year"]), _MONTHS.index(found["month"]) + 1
    if len(found["year"]) == 2:  # the latest year with these digits that is at most 50 years in the future
        latest = datetime.now(UTC).year + 50
        year = latest - (latest - year) % 100
    second = min(int(found["second"]), 59)  # 60 is a leap second
    try:
        return datetime(year, month, int(found["day"]), int(found["hour"]), int(found["minute"]), second, tzinfo=UTC)
    except ValueError:
        return None


def byte_ranges(value: str) -> list[tuple[int, int | None]] | None:
    """Parse a Range field into (start, stop) pairs. Returns None if the field must be ignored.

    A suffix range has a negative start. A suffix of 0 bytes, which cannot be satisfied, is (0, 0). The field is ignored
    if its unit is not bytes, if it is malformed (RFC 9110 sections 14.1 and 14.2; empty list elements are allowed,
    section 5.6.1.2), or if its ranges overlap or are not in ascending order.
    """
    unit, _, ranges = value.strip(_OWS).partition("=")
    elements = [element for part in ranges.split(",") if (element := part.strip(_OWS))]
    if unit.lower() != "bytes" or not elements:
        return None
    found: list[tuple[int, int | None]] = []
    least: int | None = 0  # lowest start allowed for the next range; None: no range may follow an open end or a suffix
    for element in elements:
        match = _BYTE_RANGE.fullmatch(element)
        if match is None:
            return None
        first, last, suffix = match.groups()
        if suffix is not None and not _number(suffix):
            found.append((0, 0))
            continue
        start = _number(first) if suffix is None else -_number(suffix)
        stop = _number(last) + 1 if last else None
        if least is None or 0 <= start < least or (stop is not None and stop <= start):
            return None
        found.append((start, stop))
        least = stop
    return found


def _number(digits: str) -> int:
    """Return the number, or 10**25 if it has more than 25 digits: int() fails for thousands of digits."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _MAX_DIGITS else 10**_MAX_DIGITS
