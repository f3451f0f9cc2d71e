"""Names of members: which can be stored, which are safe to extract, and which are taken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

from .._checks import check_choice
from ..errors import DuplicateNameError, UnsafeNameError
from .name_links import Links
from .name_parts import (
    fold_key,
    harmless_pieces,
    is_empty_or_dots,
    look_of,
    percent_encoded,
    portable,
    portable_fault,
    shortened,
    split_suffix,
)
from .records import end_signature_in

NamePolicy = Literal["strict", "repair", "portable", "repair-portable", "allow"]
DuplicatePolicy = Literal["error", "rename", "allow"]

MAX_NAME = 65535  # bytes of UTF-8
_SURELY_SHORT = MAX_NAME // 4  # characters: each has up to 4 bytes
_MAX_CACHED_DIRECTORIES = 256
_DRIVE = re.compile(r"[A-Za-z]:")
_LEADING_DRIVES = re.compile(r"^(?:[A-Za-z]:)+")
# A component that all policies accept, except the portable ones; and a component that these accept, too.
_PLAIN = re.compile(r"[A-Za-z0-9_-][ -.0-9;-\[\]-~]*")
_PORTABLE = re.compile(
    r"(?!(?i:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[1-9])(?:[ .]|\Z))"
    r"[A-Za-z0-9_-](?:[ !#-)+-.0-9;=@-\[\]-{}~]{0,253}[!#-)+,\-0-9;=@-\[\]-{}~])?"
)
# Advice for names with a NUL.
_FOR_NUL = ", or choose names='repair-portable' (stores '_' in its place)"


def check_storable(name: str, advice: str = "", for_nul: str = "") -> None:
    """Raise UnsafeNameError for a name that the format cannot store (APPNOTE 4.4.10, 4.4.17), under any policy.

    Args:
        advice: appended to the error about a name that is not valid UTF-8.
        for_nul: appended to the error about a NUL.
    """
    if not name:
        raise UnsafeNameError("an entry has an empty name: give it a name")
    if "\0" in name:
        raise UnsafeNameError(
            f"entry {name!r}: the name contains a NUL, at which readers cut it off: remove it{for_nul}"
        )
    try:
        size = len(name) if name.isascii() else len(name.encode("utf-8"))
    except UnicodeEncodeError as exc:
        raise UnsafeNameError(
            f"entry {name!r}: the name contains a lone surrogate (position {exc.start}), as file names that are not "
            f"valid UTF-8 do: decode the file name yourself and pass the result{advice}"
        ) from exc
    if size > MAX_NAME:
        raise UnsafeNameError(
            f"entry {name[:60] + '…'!r}: the name is {size} bytes long in UTF-8, but at most {MAX_NAME} are possible"
        )
    if "PK" in name and (found := end_signature_in(name.encode())):
        raise UnsafeNameError(
            f"entry {name!r}: the name contains {found!r}, which readers take for the end of the archive: pass another "
            "name"
        )


def is_storable(name: str) -> bool:
    """Whether `check_storable` accepts the name."""
    try:
        check_storable(name)
    except UnsafeNameError:
        return False
    return True


def check_safe(name: str) -> None:
    """Raise UnsafeNameError if a careless reader could extract `name` outside of its directory or as another name."""
    fault = _safety_fault(name)
    if fault:
        raise UnsafeNameError(
            f"entry {name!r}: {fault}. Pass a relative name with forward slashes, or choose names='repair' "
            "(make it safe) or names='allow' (store it unchanged)"
        )


def _safety_fault(name: str) -> str | None:
    if "\\" in name:
        return "the name contains a backslash, which is a path separator on Windows"
    if name.startswith("/"):
        return "the name is absolute"
    if _DRIVE.match(name):
        return f"the name begins with a drive letter, {name[:2]!r}"
    parts = name.removesuffix("/").split("/")
    if ".." in parts:
        return "the name has a '..' component, which can lead out of the directory that it is extracted to"
    if "." in parts or "" in parts:
        return "the name has an empty or '.' component, so it is another spelling of a simpler name"
    for at, part in enumerate(parts):
        if is_empty_or_dots(part):
            return "the name has a component of dots and spaces, which is '.' or '..' on some systems"
        look = look_of(part, first=at == 0)
        if look:
            return f"the name has {look}: {part!a}"
    return None


def check_portable(name: str) -> None:
    """Raise UnsafeNameError if some system cannot extract the name."""
    for part in name.removesuffix("/").split("/"):
        fault = portable_fault(part)
        if fault:
            raise UnsafeNameError(
                f"entry {name!r}: the name has {fault}. Pass another name, or choose names='repair-portable' (make it "
                "portable) or names='strict' (store it unchanged)"
            )


def repaired(name: str) -> str:
    """Make `name` safe: relative, forward slashes, without drive, '..', '.', empty components and look-alikes.

    Bytes that are not UTF-8 are percent-encoded. Raises UnsafeNameError if nothing is left.
    """
    rest = percent_encoded(name).replace("\\", "/").split("/")[::-1]
    kept: list[str] = []
    while rest:
        part = rest.pop()
        if not kept:  # removing a drive letter may reveal another one
            part = _LEADING_DRIVES.sub("", part)
        if is_empty_or_dots(part):
            continue
        pieces = harmless_pieces(part, first=not kept)
        if pieces == [part]:
            kept.append(part)
        else:
            rest += pieces[::-1]
    if not kept:
        raise UnsafeNameError(f"entry {name!r}: nothing is left of the name after repair: pass another name")
    # A trailing slash marks a directory; a trailing backslash does not.
    return "/".join(kept) + ("/" if name.endswith("/") else "")


def made_portable(name: str) -> str:
    """Make `name` safe, like `repaired`, and each component valid on every system."""
    name = repaired(name)
    return "/".join(map(portable, name.removesuffix("/").split("/"))) + ("/" if name.endswith("/") else "")


# A directory's children by name; a file is None. The key _HAS_ENTRY marks a directory that has an entry of its own.
_Directory = dict[object, "_Directory | None"]
_HAS_ENTRY = object()


def is_plain(name: str) -> bool:
    """Whether all policies except the portable ones accept a file's `name`, apart from its length."""
    return all(map(_PLAIN.fullmatch, name.split("/")))


class _Clash(NamedTuple):
    """Why a name is not free, and whether another last component would be."""

    reason: str
    can_be_renamed: bool


class NameRegistry:
    """The names taken in one archive, and the policies for unsafe and duplicate names."""

    def __init__(self, names: NamePolicy = "strict", duplicates: DuplicatePolicy = "error") -> None:
        check_choice("names", names, get_args(NamePolicy))
        check_choice("duplicates", duplicates, get_args(DuplicatePolicy))
        self._names = names
        self._takes_all = names == "allow" and duplicates == "allow"
        self._duplicates = duplicates
        self._keeps_files = duplicates != "allow"
        self._ignores_case = names in ("portable", "repair-portable")
        self._is_plain_part = (_PORTABLE if self._ignores_case else _PLAIN).fullmatch
        self._key = fold_key if self._ignores_case else str
        self._root: _Directory = {}
        # A cache in front of the policies: directories whose names were accepted, by name.
        self._accepted: dict[str, _Directory] = {"": self._root}
        # The last resolved name; its directory and its key there if the directory was in the cache.
        self._resolved: tuple[str | None, _Directory | None, str] = None, None, ""
        self._next_number: dict[str, int] = {}
        self._links: Links | None = None  # None until there is a link; unused under names='allow'

    def resolve(self, name: str, *, is_link: bool = False, takes: bool = False) -> str | None:
        """Return the name that the member gets. It is not taken until `take`, unless `takes`.

        Returns None for a directory that already has an entry, unless duplicates are allowed.

        Args:
            is_link: whether the member is a symbolic link.

        Raises UnsafeNameError or DuplicateNameError if the policies reject the name.
        """
        at = name.rfind("/") + 1
        place = self._accepted.get(name[:at])
        if place is not None and not is_link:
            key, is_plain = name[at:], self._is_plain_part(name, at) and len(name) <= _SURELY_SHORT
            # The policies judge each component by itself, except in the presence of links, which may look like two.
            if is_plain or (self._links is None and self._accepts(name, key)):
                if self._ignores_case:
                    key = fold_key(key)
                if not (self._keeps_files and key in place) and (self._links is None or self._links.at(name) is None):
                    if not takes:
                        self._resolved = name, place, key
                    elif self._keeps_files:
                        place[key] = None
                    return name
        is_new = at == len(name) and not is_link and self._is_new_directory(name)
        found = name if is_new else self._resolve(name, is_link)
        if takes and found is not None:
            self.take(found, is_link=is_link)
        return found

    def _is_new_directory(self, name: str) -> bool:
        """Whether `name` is not in the archive, and the policies accept it unchanged, as they have its directory."""
        at = name.rfind("/", 0, -1) + 1
        place, key = self._accepted.get(name[:at]), name[at:-1]
        if place is None or self._takes_all or self._links is not None or not self._accepts(name, key):
            return False
        if self._ignores_case:
            key = fold_key(key)
        if key in place:
            return False
        self._resolved = name, place, key
        return True

    def _accepts(self, name: str, part: str) -> bool:
        """Whether the policies accept `part`, the last component of `name`, unchanged."""
        if not part or len(name) > _SURELY_SHORT:
            return False
        if self._is_plain_part(part):
            return True
        try:
            return self._apply_policy(part) == part
        except UnsafeNameError:
            return False

    def _resolve(self, name: str, is_link: bool) -> str | None:
        """`resolve` a name whose directory has not been accepted yet, or that needs a closer look."""
        name = self._apply_policy(name)
        if self._links is not None and (link := self._links.above(name)) is not None:
            raise UnsafeNameError(
                f"entry {name!r}: its path leads through {link!r}, a symbolic link in the archive: leave out or rename "
                "one of them"
            )
        if self._keeps_files and (clash := self._clash(name)) is not None:
            if clash.can_be_renamed and name.endswith("/"):
                return None
            if self._duplicates == "error" or not clash.can_be_renamed:
                raise DuplicateNameError(
                    f"entry {name!r}: {clash.reason}. Pass another name, or choose duplicates='rename' or 'allow'"
                )
            name = self._renamed(name)
        self._check_links(name, is_link)
        self._resolved = name, None, ""
        return name

    def _apply_policy(self, name: str) -> str:
        """Check or repair `name` as the policy of names says."""
        if name and self._names == "repair-portable":
            name = made_portable(name)
        elif name and self._names == "repair":
            check_storable(percent_encoded(name), for_nul=_FOR_NUL)
            name = repaired(name)
        check_storable(name, ", or choose names='repair' (stores such a byte as '%E9')", _FOR_NUL)
        if self._names in ("strict", "portable"):
            check_safe(name)
        if self._names == "portable":
            check_portable(name)
        return name

    def _check_links(self, name: str, is_link: bool) -> None:
        """Raise UnsafeNameError for a member with the name of a link, and for a link with the name of a directory."""
        if self._names == "allow":
            return
        if is_link and (self._links or Links(self._directories())).is_directory(name):
            raise UnsafeNameError(
                f"entry {name!r}: this symbolic link has the name of a directory in the archive, so that members would "
                "be extracted through it: leave out or rename one of them"
            )
        if not is_link and self._links is not None and (link := self._links.at(name)) is not None:
            raise UnsafeNameError(
                f"entry {name!r}: the archive has a symbolic link {link!r}, through which this entry would be "
                "extracted: leave out or rename one of them"
            )

    def take(self, name: str, *, is_link: bool = False) -> None:
        """Record that `name`, as returned by `resolve`, is in the archive."""
        resolved, known, key = self._resolved
        if known is not None and name is resolved:
            if name[-1:] == "/":
                directory: _Directory = {_HAS_ENTRY: None}
                known[key] = directory
                self._accept(name, directory)
            elif self._keeps_files:
                known[key] = None
            return
        if self._takes_all:
            return
        *above, last = map(self._key, name.removesuffix("/").split("/"))
        place = self._root
        for part in above:
            place = _directory(place, part)
        if name is resolved:
            self._accept(name[: name.rfind("/", 0, -1) + 1], place)
        if name.endswith("/"):
            place = _directory(place, last)
            place[_HAS_ENTRY] = None
            if name is resolved:
                self._accept(name, place)
        elif self._keeps_files:
            place[last] = None
        if self._links is not None:
            self._links.enter(name.rpartition("/")[0])
        if is_link and self._names != "allow":
            if self._links is None:
                self._links = Links(self._directories())
            self._links.add(name)

    def _accept(self, name: str, directory: _Directory) -> None:
        if len(self._accepted) >= _MAX_CACHED_DIRECTORIES:
            self._accepted = {"": self._root}
        self._accepted[name] = directory

    def _directories(self) -> Iterator[str]:
        """Yield the names of all directories, in no particular order."""
        rest: list[tuple[str, _Directory]] = [("", self._root)]
        while rest:
            above, place = rest.pop()
            for part, inner in place.items():
                if inner is not None:
                    yield f"{above}{part}"
                    rest.append((f"{above}{part}/", inner))

    def _clash(self, name: str) -> _Clash | None:
        """Return the clash that keeps `name` from being taken, or None."""
        is_dir = name.endswith("/")
        shown = name.removesuffix("/").split("/")
        *above, last = map(self._key, shown)
        place: _Directory = self._root
        for depth, part in enumerate(above, 1):
            if part not in place:
                return None
            inner = place[part]
            if inner is None:
                file = "/".join(shown[:depth])
                return _Clash(f"the archive has a file {file!r} where its directory would be", False)
            place = inner
        if last not in place:
            return None
        found = place[last]
        if found is None and is_dir:
            return _Clash(f"the archive has a file {name[:-1]!r} where this directory would be", False)
        if found is not None and not is_dir:
            return _Clash(f"the archive has a directory {name + '/'!r} where this file would be", True)
        if found is not None and _HAS_ENTRY not in found:
            return None
        equal = ", or one that differs only in case or Unicode normalization," if self._ignores_case else ""
        return _Clash(f"a member of that name{equal} is already in the archive", True)

    def _renamed(self, name: str) -> str:
        head, slash, tail = name.rpartition("/")
        key = self._key(name)
        number = self._next_number.get(key, 2)
        while self._clash(candidate := f"{head}{slash}{self._numbered(tail, number)}"):
            number += 1
        self._next_number[key] = number + 1
        check_storable(candidate)
        return candidate

    def _numbered(self, tail: str, number: int) -> str:
        if self._ignores_case:
            return shortened(tail, f" ({number})")
        stem, suffix = split_suffix(tail)
        return f"{stem} ({number}){suffix}"


def _directory(place: _Directory, name: str) -> _Directory:
    found = place.setdefault(name, {})
    assert found is not None  # `resolve` has refused a directory in place of a file
    return found
