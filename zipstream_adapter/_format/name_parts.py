"""Single components ("parts") of a member's name: what they look like, whether they are portable, and their repair."""

from __future__ import annotations

import re
from unicodedata import normalize

# The most bytes of UTF-8 that a part can have on all file systems. (NTFS allows 255 UTF-16 units, which is never less.)
MAX_PART = 255

# Unicode's Default_Ignorable_Code_Point and control characters: invisible, and ignored by some file systems.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\x00-\x1f\x7f-\x9f]+"
)
# Look-alikes of dots that NFKC does not change.
_DOTS = dict.fromkeys(map(ord, "\u0701\u0702\u06d4\u3002\ua4f8\ua60e\U00010a50\U0001d16d"), ".") | {0xA4FA: ".."}
# Separators, and characters that NFKC or a Windows code page converts to one.
_MADE_SEPARATOR = "/\\\uff0f\uff3c\ufe68\u2044\u2215\u2216"
# All of these, and look-alikes.
_SEPARATOR = re.compile(f"[{re.escape(_MADE_SEPARATOR)}\u00a5\u20a9\u1735\u2041\u2571\u27cb\u27cd\u29f5\u29f8\u29f9]")
_DRIVE = re.compile(r"[A-Za-z]:\Z")

# Characters that Windows' file systems reject in a part.
_FORBIDDEN = re.compile('[<>:"|?*\\\\/\x00-\x1f\x7f-\x9f]')
# Controls of the text direction, which can disguise a name.
_BIDIRECTIONAL = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# Windows' device names. They are reserved in every directory, with any suffix.
_RESERVED = re.compile(r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(?:COM|LPT)[1-9\u00b9\u00b2\u00b3])\Z", re.IGNORECASE)
_SURROGATES = re.compile("[\ud800-\udfff]+")


def as_displayed(part: str) -> str:
    """Return `part` as a reader sees it: NFKC, without invisible characters, look-alikes of dots replaced by dots."""
    if part.isascii() and part.isprintable():
        return part
    shown = _IGNORABLE.sub("", normalize("NFKC", _IGNORABLE.sub("", part)))
    return shown.translate(_DOTS)


def is_empty_or_dots(part: str) -> bool:
    """Whether a part is empty or consists of dots and spaces, which some systems treat as '.' or '..'."""
    return not part or (not part.strip(". ") and "." in part)


def look_of(part: str, *, first: bool) -> str | None:
    """Return the dangerous thing that a part looks like, or None. The part must not have an ASCII separator.

    first: whether it is the first part of its name.
    """
    if part.isascii() and part.isprintable():
        return None
    pieces = _SEPARATOR.split(part)
    shown = [as_displayed(piece) for piece in pieces]
    if shown == [""]:
        return "a component that consists of invisible characters"
    if first and part[0] in _MADE_SEPARATOR:
        return "a look-alike of an absolute name"
    if first and _DRIVE.match(shown[0]):
        return "a look-alike of a drive letter"
    if any(piece and is_empty_or_dots(seen) for piece, seen in zip(pieces, shown, strict=True)):
        return "a look-alike of '.' or '..'"
    return None


def harmless_pieces(part: str, *, first: bool) -> list[str]:
    """Return [part] if `look_of` accepts it, else its harmless pieces, which the caller must check again."""
    if look_of(part, first=first) is None:
        return [part]
    pieces = [piece for piece in _SEPARATOR.split(part) if not is_empty_or_dots(as_displayed(piece))]
    return pieces[1:] if first and pieces and _DRIVE.match(as_displayed(pieces[0])) else pieces


def portable_fault(part: str) -> str | None:
    """Return the reason why some system cannot have a file of that name, or None."""
    found = _FORBIDDEN.search(part)
    if found:
        return f"the character {found[0]!r}, which Windows does not allow"
    found = _BIDIRECTIONAL.search(part)
    if found:
        return f"the character {found[0]!r}, which changes the text direction, so that the name looks like another name"
    if part[-1:] in (".", " "):
        return "a dot or space at the end of a component, which Windows removes"
    if _is_reserved(part):
        return f"the component {part!r}, which is a reserved device name on Windows"
    size = len(part) if part.isascii() else len(part.encode())
    if size > MAX_PART:
        return f"a component of {size} bytes in UTF-8, but some file systems allow only {MAX_PART}"
    return None


def _is_reserved(part: str) -> bool:
    return _RESERVED.match(part.partition(".")[0].rstrip(" ")) is not None


def portable(part: str) -> str:
    """Make `part` valid on every system: replace forbidden characters and shorten it to `MAX_PART` bytes."""
    part = _FORBIDDEN.sub("_", _BIDIRECTIONAL.sub("", part)).rstrip(". ") or "_"
    if _is_reserved(part):
        stem, dot, rest = part.partition(".")
        part = f"{stem.rstrip(' ')}_{dot}{rest}"
    return shortened(part)


def shortened(part: str, more: str = "") -> str:
    """Insert `more` before the suffix of `part`, and shorten the stem until the result has at most `MAX_PART` bytes."""
    stem, suffix = split_suffix(part)
    room = MAX_PART - len(more.encode()) - len(suffix.encode())
    if room < 1:  # too long to be a suffix
        stem, suffix, room = part, "", MAX_PART - len(more.encode())
    encoded = stem.encode()
    if len(encoded) > room:
        stem = encoded[:room].decode("utf-8", "ignore")
    whole = stem + more + suffix
    # A shortened stem without suffix may end in a dot or a space, which Windows removes.
    return whole.rstrip(". ") if whole != part else part


def split_suffix(part: str) -> tuple[str, str]:
    """Split the last part of a name into (stem, suffix). ``.hidden`` has no suffix."""
    dot = part.rfind(".")
    return (part[:dot], part[dot:]) if dot > 0 else (part, "")


def fold_key(part: str) -> str:
    """Return a key that is equal for parts that differ only in case or Unicode normalization."""
    if part.isascii():
        return part.lower()
    return normalize("NFD", normalize("NFD", part).casefold())


def percent_encoded(name: str) -> str:
    """Percent-encode the lone surrogates in `name`, which stand for undecodable bytes: ``%E9`` for 0xE9."""
    return _SURROGATES.sub(_percent, name)


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for each in found[0] for byte in _bytes_of(each))


def _bytes_of(surrogate: str) -> bytes:
    try:
        return surrogate.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return surrogate.encode("utf-8", "surrogatepass")
