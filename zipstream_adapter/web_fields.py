"""Header fields of a zip download: how they are written, and how a request's are read.

Grammar, dates and quoting are werkzeug's (extra ``web``); here stands what it lets pass and must not leave, or come in.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from .counts import is_count
from .errors import EntryTypeError, OptionError
from .fields import described

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
# Bytes in UTF-8: file systems take no longer names, and encoded they still fit the buffers of proxies.
_MAX_FILENAME = 255
# RFC 8187 section 3.2.1: attr-char, besides letters and digits.
_ATTR_CHARS = "!#$&+-.^_`|~"
# What clients do not agree about in a quoted string (RFC 6266 appendix D), or take for quotes and wildcards.
_DOUBTFUL = re.compile(r"""["'%*/:<>?\\|]|[^ -~]""")
# Controls, lone surrogates, line and paragraph separators.
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
_MOST_DIGITS = 25
# These follow from the archive and from the request.
_OURS = {"accept-ranges", "content-disposition", "content-length", "content-range", "etag", "last-modified"}
_HOPS = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}


def zip_headers(
    filename: str, *, size: int | None = None, etag: str | None = None, last_modified: datetime | None = None
) -> dict[str, str]:
    """The header fields of a response that carries a whole archive.

    Args:
        filename: the name that the download gets: any Unicode, without path separators and control characters, at most
            255 bytes in UTF-8. It is sent as RFC 6266 has it: as it is, or spelled in ASCII for those who know no
            other, with the real one beside it (RFC 8187).
        size: bytes of the archive: the Content-Length. Without it, HTTP/1.1 sends chunks, whose end can be missed.
        etag: opaque, without quotes; a strong validator (RFC 9110 section 8.8.1). With it and `size`, ``Accept-Ranges``
            says that byte ranges are answered, as `respond` does for a layout.
        last_modified: a datetime (a naive one is UTC), sent in whole seconds. One of the future is sent as now.

    ``Cache-Control: no-transform`` keeps proxies from compressing. ``Content-Encoding: identity`` does that for
    middlewares that do not know no-transform: Django's, Starlette's and Flask-Compress leave alone what has a
    Content-Encoding. It means no encoding. RFC 9110 section 8.4.1 says that it should not be sent; clients ignore it.
    ``X-Accel-Buffering: no`` keeps nginx from collecting a stream before it sends it. It keeps nginx from caching, too,
    so it is left out with an `etag`.

    Raises:
        OptionError, EntryTypeError: for values outside of these.
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
    """``attachment`` under that name (RFC 6266 section 4); clients that know no ``filename*`` get an ASCII spelling."""
    check_filename(filename)
    plain = "".join(char for char in unicodedata.normalize("NFKD", filename) if not unicodedata.combining(char))
    plain = _DOUBTFUL.sub("_", plain)
    if not plain.strip(". "):
        plain = DEFAULT_FILENAME
    # Always in quotes, which some expect around a token, too.
    value = f"attachment; filename={http.quote_header_value(plain, allow_token=False)}"
    if plain == filename:
        return value
    return http.dump_options_header(value, {"filename*": f"UTF-8''{quote(filename, safe=_ATTR_CHARS)}"})


def check_filename(filename: str) -> None:
    """Refuse a name that would end the header field, leave the download's directory, or be no name."""
    if not isinstance(filename, str):
        raise EntryTypeError(f"filename={described(filename)}: give a str")
    fault = None
    if not filename.strip(". "):
        fault = "there is nothing in it that names a file"
    elif "/" in filename or "\\" in filename:
        fault = "it carries a path separator, and clients would cut it there"
    elif bad := next((char for char in filename if unicodedata.category(char) in _UNPRINTABLE), None):
        fault = f"it carries the control character or surrogate {bad!r}"
    elif len(filename.encode()) > _MAX_FILENAME:
        fault = f"it is {len(filename.encode())} bytes long in UTF-8, and {_MAX_FILENAME} is the most"
    if fault:
        raise OptionError(f"filename={filename[:300]!r}: {fault}. Give a plain file name, as in 'photos.zip'")


def quoted_etag(etag: str) -> str:
    """`etag` as the field has it; what is no opaque-tag (RFC 9110 section 8.8.3) is refused."""
    if not isinstance(etag, str):
        raise EntryTypeError(f"etag={described(etag)}: give a str")
    if not _ETAG.fullmatch(etag):
        raise OptionError(f"etag={etag[:80]!r}: give visible ASCII characters, without spaces, quotes and W/")
    return http.quote_etag(etag)


def in_seconds(date: datetime) -> datetime:
    """`date` as header fields can say it: UTC, in whole seconds; a naive one is taken for UTC."""
    if not isinstance(date, datetime):
        raise EntryTypeError(f"last_modified={described(date)}: give a datetime")
    date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    return date.replace(microsecond=0)


def _decimal(size: int) -> str:
    if not is_count(size):
        raise OptionError(f"size={size!r}: give bytes as a whole number, or None where it is not known")
    return str(size)


def check_extra(extra: Mapping[str, str]) -> dict[str, str]:
    """Refuse fields of the user's that could not be sent as they are, or would contradict ours."""
    if not isinstance(extra, Mapping):
        raise EntryTypeError(f"extra header fields {described(extra)}: give a mapping from name to value")
    for name, value in extra.items():
        if not isinstance(name, str) or not _TOKEN.fullmatch(name):
            raise OptionError(f"header {name!r}: this is no field name (RFC 9110 section 5.1)")
        if not isinstance(value, str) or not _FIELD_VALUE.fullmatch(value):
            raise OptionError(f"header {name}: {value!r}: give printable ASCII on one line")
        if name.lower() in _OURS | _HOPS:
            raise OptionError(f"header {name}: this follows from the archive and the request, and cannot be given")
    return dict(extra)


def overlaid(fields: dict[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """`fields`, and those of `extra` beside or instead of them; a Cache-Control keeps its ``no-transform``."""
    given = {name.lower() for name in extra}
    merged = {name: value for name, value in fields.items() if name.lower() not in given} | dict(extra)
    for name in merged:
        if name.lower() == "cache-control" and "no-transform" not in merged[name].lower():
            merged[name] += ", no-transform"
    return merged


def by_lower_name(headers: Any) -> Mapping[str, str]:
    """A request's header fields by lower-case name, those of one name joined (RFC 9110 section 5.3). Read-only.

    headers: a mapping, such as any framework's, or an iterable of pairs; of str, or of bytes, as ASGI has them.
    """
    pairs: Iterable[tuple[Any, Any]] = headers.items() if hasattr(headers, "items") else headers
    found: dict[str, str] = {}
    for name, value in pairs:
        key, text = _text(name).lower(), _text(value)
        found[key] = f"{found[key]}, {text}" if key in found else text
    return MappingProxyType(found)


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


# What a request's fields say of a representation. A malformed one says nothing.


def holds_etag(value: str, etag: str | None, *, weak: bool) -> bool:
    """Whether the If-Match or If-None-Match `value` names `etag`, or is ``*``, which is any (RFC 9110 section 8.8.3.2).

    weak: whether a weak tag names it, too. Our own is strong. A tag without quotes is none (section 8.8.3).
    """
    value = value.strip(_OWS)
    if value == "*":
        return True
    if etag is None or not _ETAGS.fullmatch(value):
        return False
    return any(tag == etag and (weak or not mark) for mark, tag in _ENTITY_TAG.findall(value))


def http_date(value: str) -> datetime | None:
    """The date that `value` says (RFC 9110 section 5.6.7); None if it is no HTTP-date, or more than one."""
    value = value.strip(_OWS)
    found = next(filter(None, (form.fullmatch(value) for form in _HTTP_DATES)), None)
    if found is None:
        return None
    year, month = int(found["year"]), _MONTHS.index(found["month"]) + 1
    if len(found["year"]) == 2:  # the last such year that is at most 50 years ahead
        latest = datetime.now(UTC).year + 50
        year = latest - (latest - year) % 100
    second = min(int(found["second"]), 59)  # 60 is a leap second
    try:
        return datetime(year, month, int(found["day"]), int(found["hour"]), int(found["minute"]), second, tzinfo=UTC)
    except ValueError:
        return None


def byte_ranges(value: str) -> list[tuple[int, int | None]] | None:
    """(start, stop) of each range of a Range field, with a negative start for a suffix; None if it is to be ignored.

    It is if its unit is another, or it is malformed (RFC 9110 sections 14.1 and 14.2; empty elements of the list are
    no fault: section 5.6.1.2). Several ranges are ignored unless they are in ascending order and do not overlap. An
    empty range stands for a suffix of no bytes, which nothing satisfies.
    """
    unit, _, ranges = value.strip(_OWS).partition("=")
    elements = [element for part in ranges.split(",") if (element := part.strip(_OWS))]
    if unit.lower() != "bytes" or not elements:
        return None
    found: list[tuple[int, int | None]] = []
    least: int | None = 0  # where the next one may begin; None: nothing may follow a suffix
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
    """Their number, or 10**25 for one of more digits: Python converts no number of thousands of digits."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS
