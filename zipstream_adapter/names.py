"""Names of members: what may be stored, what is safe to extract, and what is taken already."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, get_args

from .errors import DuplicateNameError, OptionError, UnsafeNameError

NamePolicy = Literal["strict", "repair", "allow"]
DuplicatePolicy = Literal["error", "rename", "allow"]

MAX_NAME = 65535
_MOST_PLACES = 256
_DRIVE = re.compile(r"[A-Za-z]:")
_DRIVES = re.compile(r"^(?:[A-Za-z]:)+")
# A component that no policy has anything to say about.
_PLAIN = re.compile(r"[A-Za-z0-9_-][ -.0-9;-\[\]-~]*")


def check_storable(name: str) -> None:
    """Refuse what no policy can allow: a name that the format cannot say (APPNOTE 4.4.10, 4.4.17)."""
    if not name:
        raise UnsafeNameError("an entry has an empty name: every member needs one")
    if "\0" in name:
        raise UnsafeNameError(f"entry {name!r}: the name carries a NUL, where readers cut it off: remove it")
    try:
        size = len(name) if name.isascii() else len(name.encode("utf-8"))
    except UnicodeEncodeError as exc:
        raise UnsafeNameError(
            f"entry {name!r}: the name carries a lone surrogate (position {exc.start}), as file names do that are "
            "not valid UTF-8: decode it properly and pass a name of your own"
        ) from exc
    if size > MAX_NAME:
        raise UnsafeNameError(
            f"entry {name[:60] + '…'!r}: the name is {size} bytes long in UTF-8, and {MAX_NAME} is the most"
        )


def is_storable(name: str) -> bool:
    """Whether `check_storable` has nothing to say."""
    try:
        check_storable(name)
    except UnsafeNameError:
        return False
    return True


def check_safe(name: str) -> None:
    """Refuse a name that a careless reader would extract outside of its directory, or under another name."""
    fault = _fault(name)
    if fault:
        raise UnsafeNameError(
            f"entry {name!r}: {fault}. Pass a relative name with forward slashes, or choose names='repair' "
            "(make it one) or names='allow' (store it as it is)"
        )


def _fault(name: str) -> str | None:
    if "\\" in name:
        return "the name carries a backslash, which Windows takes for a separator"
    if name.startswith("/"):
        return "the name is absolute"
    if _DRIVE.match(name):
        return f"the name begins with a drive letter, {name[:2]!r}"
    parts = name.removesuffix("/").split("/")
    if ".." in parts:
        return "the name climbs out with '..'"
    if "." in parts or "" in parts:
        return "the name carries an empty or '.' component, so it is another spelling of a plainer name"
    if any(_is_dots(part) for part in parts):
        return "the name has a component of dots and spaces, which some systems take for '.' or '..'"
    return None


def _is_dots(part: str) -> bool:
    """Whether a component is empty, or names a directory that holds it on a system that trims names."""
    return not part or (not part.strip(". ") and "." in part)


def repaired(name: str) -> str:
    """`name` made relative and plain: slashes forward, no drive, root, '..', '.' or empty components."""
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if not _is_dots(part)]
    # Whatever stands behind a drive letter comes first then, and may look like one again.
    for at, part in enumerate(parts):
        rest = _DRIVES.sub("", part)
        if not _is_dots(rest):
            # By the slash an entry says that it is a directory; a backslash at the end says nothing.
            return "/".join((rest, *parts[at + 1 :])) + ("/" if name.endswith("/") else "")
    raise UnsafeNameError(f"entry {name!r}: nothing is left of the name once it is made safe: pass another")


# A directory's children by name; a file is None. A directory that has an entry of its own is marked so.
_Directory = dict[object, "_Directory | None"]
_STATED = object()


def is_plain(name: str) -> bool:
    """Whether no policy has anything to say about a file's `name`, but for its length."""
    return all(map(_PLAIN.fullmatch, name.split("/")))


class _Clash(NamedTuple):
    """What stands where a member would, and whether another last component mends it."""

    reason: str
    can_be_renamed: bool


class NameRegistry:
    """The names taken in one archive, and what becomes of one that is taken again."""

    def __init__(self, names: NamePolicy = "strict", duplicates: DuplicatePolicy = "error") -> None:
        check_choice("names", names, get_args(NamePolicy))
        check_choice("duplicates", duplicates, get_args(DuplicatePolicy))
        self._names = names
        self._plain: str | None = None  # the last one that was found so, where any may be taken again
        self._takes_all = names == "allow" and duplicates == "allow"
        self._duplicates = duplicates
        self._root: _Directory = {}
        self._head, self._place = "", self._root  # the directory that `take_plain` was in last
        self._places: dict[str, _Directory] = {}  # those before it, as far as they are kept
        self._next_number: dict[str, int] = {}

    def resolve(self, name: str) -> str | None:
        """The name the member gets; None for a repeated directory that is there already, where renaming is chosen.

        Nothing is taken until `take`.
        """
        check_storable(name)
        if self._names == "strict":
            check_safe(name)
        elif self._names == "repair":
            name = repaired(name)
        if self._duplicates == "allow":
            return name
        clash = self._clash(name)
        if clash is None:
            return name
        if self._duplicates == "rename" and clash.can_be_renamed:
            return None if name.endswith("/") else self._renamed(name)
        raise DuplicateNameError(
            f"entry {name!r}: {clash.reason}. Give it another name, or choose duplicates='rename' or 'allow'"
        )

    def take(self, name: str) -> None:
        """Record that `name`, as `resolve` gave it, now is in the archive."""
        if self._duplicates == "allow":
            return
        *above, last = name.removesuffix("/").split("/")
        place = self._root
        for part in above:
            place = _directory(place, part)
        if name.endswith("/"):
            _directory(place, last)[_STATED] = None
        else:
            place[last] = None

    def take_plain(self, name: str) -> bool:
        """Take a file's `name` at once, where it plainly is as it should be and free; else False: ask `resolve`."""
        if name is self._plain:
            return True
        if self._takes_all:
            return name[-1:] != "/" and is_storable(name)
        head, slash, last = name.rpartition("/")
        if not _PLAIN.fullmatch(last) or len(name) > MAX_NAME or (slash and not head):
            return False
        if head != self._head and not self._go_to(head):
            return False
        if self._duplicates != "allow":
            if last in self._place:
                return False
            self._place[last] = None
        return True

    def is_plainly_free(self, name: str) -> bool:
        """Whether `take_plain` would take it; nothing is taken."""
        is_free = self._is_plainly_free(name)
        if self._duplicates == "allow":
            self._plain = name if is_free else None
        return is_free

    def _is_plainly_free(self, name: str) -> bool:
        if self._takes_all:
            return name[-1:] != "/" and is_storable(name)
        head, slash, last = name.rpartition("/")
        place = self._place if head == self._head else self._places.get(head)
        if place is not None and _PLAIN.fullmatch(last) and len(name) <= MAX_NAME:
            return (not slash or bool(head)) and (self._duplicates == "allow" or last not in place)
        is_plain = len(name) <= MAX_NAME and all(map(_PLAIN.fullmatch, name.split("/")))
        return is_plain and (self._duplicates == "allow" or self._clash(name) is None)

    def _go_to(self, head: str) -> bool:
        """Make the directory `head` the one that `take_plain` is in; False where it is not plain, or a file."""
        known = self._places.get(head)
        if known is not None:
            self._head, self._place = head, known
            return True
        parts = head.split("/") if head else []
        if not all(map(_PLAIN.fullmatch, parts)):
            return False
        place = self._root
        for part in parts if self._duplicates != "allow" else ():
            inner = place.setdefault(part, {})
            if inner is None:
                return False
            place = inner
        if len(self._places) >= _MOST_PLACES:
            self._places.clear()
        self._head, self._place = head, place
        self._places[head] = place
        return True

    def _clash(self, name: str) -> _Clash | None:
        """What stands in the way of `name`."""
        is_dir = name.endswith("/")
        *above, last = name.removesuffix("/").split("/")
        place: _Directory = self._root
        for depth, part in enumerate(above, 1):
            if part not in place:
                return None
            inner = place[part]
            if inner is None:
                file = "/".join(above[:depth])
                return _Clash(f"the archive has a file {file!r} where its directory would stand", False)
            place = inner
        if last not in place:
            return None
        found = place[last]
        if found is None and is_dir:
            return _Clash(f"the archive has a file {name[:-1]!r} where this directory would stand", False)
        if found is not None and not is_dir:
            return _Clash(f"the archive has a directory {name + '/'!r} where this file would stand", True)
        if found is not None and _STATED not in found:
            return None
        return _Clash("a member of that name is in the archive already", True)

    def _renamed(self, name: str) -> str:
        head, slash, tail = name.rpartition("/")
        dot = tail.rfind(".")
        stem, suffix = (tail[:dot], tail[dot:]) if dot > 0 else (tail, "")
        number = self._next_number.get(name, 2)
        while self._clash(candidate := f"{head}{slash}{stem} ({number}){suffix}"):
            number += 1
        self._next_number[name] = number + 1
        check_storable(candidate)
        return candidate


def _directory(place: _Directory, name: str) -> _Directory:
    found = place.setdefault(name, {})
    assert found is not None  # resolve() has seen to that
    return found


def check_choice(option: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse a `value` that is none of the `choices` that `option` has."""
    if value not in choices:
        raise OptionError(f"{option}={value!r}: choose one of {', '.join(map(repr, choices))}")
