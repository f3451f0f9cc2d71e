"""Names of members: what may be stored, what is safe to extract, and what is taken already."""

from __future__ import annotations

import re
from typing import Literal, get_args

from .errors import DuplicateNameError, OptionError, UnsafeNameError

NamePolicy = Literal["strict", "repair", "allow"]
DuplicatePolicy = Literal["error", "rename", "allow"]

MAX_NAME = 65535
_DRIVE = re.compile(r"[A-Za-z]:")


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
    return None


def repaired(name: str) -> str:
    """`name` made relative and plain: slashes forward, no drive, root, '..', '.' or empty components."""
    plain = _DRIVE.sub("", name.replace("\\", "/"), count=1) if _DRIVE.match(name) else name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".", "..")]
    if not parts:
        raise UnsafeNameError(f"entry {name!r}: nothing is left of the name once it is made safe: pass another")
    result = "/".join(parts) + ("/" if plain.endswith("/") else "")
    # What remains may look like a drive again ("C:/C:/x").
    return repaired(result) if _DRIVE.match(result) else result


class NameRegistry:
    """The names taken in one archive, and what becomes of one that is taken again."""

    def __init__(self, names: NamePolicy = "strict", duplicates: DuplicatePolicy = "error") -> None:
        _choose("names", names, get_args(NamePolicy))
        _choose("duplicates", duplicates, get_args(DuplicatePolicy))
        self._names = names
        self._duplicates = duplicates
        self._files: set[str] = set()
        self._directories: set[str] = set()
        self._stated: set[str] = set()
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
        problem = self._blocked(name) or self._taken(name)
        if problem is None:
            return name
        if self._duplicates == "rename" and not self._blocked(name):
            return None if name in self._stated else self._renamed(name)
        raise DuplicateNameError(
            f"entry {name!r}: {problem}. Give it another name, or choose duplicates='rename' or 'allow'"
        )

    def take(self, name: str) -> None:
        """Record that `name` now is in the archive."""
        if self._duplicates == "allow":
            return
        if name.endswith("/"):
            self._stated.add(name)
            self._directories.add(name)
        else:
            self._files.add(name)
        parent = name.rstrip("/").rpartition("/")[0]
        while parent and parent + "/" not in self._directories:
            self._directories.add(parent + "/")
            parent = parent.rpartition("/")[0]

    def _taken(self, name: str) -> str | None:
        if name in self._files or name in self._stated:
            return "a member of that name is in the archive already"
        if name + "/" in self._directories:
            return f"the archive has a directory {name + '/'!r} where this file would stand"
        return None

    def _blocked(self, name: str) -> str | None:
        """A file that stands where a directory would have to: another last component mends nothing."""
        if name.endswith("/") and name[:-1] in self._files:
            return f"the archive has a file {name[:-1]!r} where this directory would stand"
        parent = name.rstrip("/").rpartition("/")[0]
        while parent and parent + "/" not in self._directories:
            if parent in self._files:
                return f"the archive has a file {parent!r} where its directory would stand"
            parent = parent.rpartition("/")[0]
        return None

    def _renamed(self, name: str) -> str:
        head, slash, tail = name.rpartition("/")
        dot = tail.rfind(".")
        stem, suffix = (tail[:dot], tail[dot:]) if dot > 0 else (tail, "")
        number = self._next_number.get(name, 2)
        while self._taken(candidate := f"{head}{slash}{stem} ({number}){suffix}"):
            number += 1
        self._next_number[name] = number + 1
        check_storable(candidate)
        return candidate


def _choose(option: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise OptionError(f"{option}={value!r}: choose one of {', '.join(map(repr, choices))}")
