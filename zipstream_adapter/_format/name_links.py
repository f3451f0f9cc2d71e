"""Symbolic links in an archive: no member's path may lead through one."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .name_parts import as_displayed, fold_key

# A printable ASCII name that does not end in a dot or a space.
_PLAIN = re.compile(r"(?:[ -~]*[!-\-/-~])?")
# A component that ends in a dot or a space.
_TRIMMED = re.compile(r"[. ]/")


def _key(name: str) -> str:
    """Return a key that is equal for names that some system takes for the same name.

    Case, invisible characters, and dots and spaces at the end of a component are ignored.
    """
    if _PLAIN.fullmatch(name) and not _TRIMMED.search(name):
        return name.lower()
    parts = [fold_key(as_displayed(part)) for part in name.split("/")]
    return "/".join(part.rstrip(". ") or part for part in parts)  # a component of spaces alone keeps them


class Links:
    """The symbolic links and directories of an archive. Names that some system takes for the same name are equal.

    For example, a link ``L`` catches ``l/x`` on systems that ignore case, and ``L./x`` on systems that drop trailing
    dots.

    Args:
        directories: names of the directories that are already in the archive.
    """

    def __init__(self, directories: Iterable[str]) -> None:
        self._links: dict[str, str] = {}
        self._directories = set(map(_key, directories))

    def add(self, name: str) -> None:
        """Record a link of that name in the archive."""
        self._links[_key(name)] = name

    def enter(self, directory: str) -> None:
        """Record a directory of that name in the archive, and all directories above it."""
        key = _key(directory)
        while key and key not in self._directories:
            self._directories.add(key)
            key = key.rpartition("/")[0]

    def above(self, name: str) -> str | None:
        """Return the link that the path of `name` leads through, or None. A directory's path includes itself."""
        key = _key(name)
        at = key.find("/")
        while at >= 0:
            if key[:at] in self._links:
                return self._links[key[:at]]
            at = key.find("/", at + 1)
        return None

    def at(self, name: str) -> str | None:
        """Return the link that has that name, or None."""
        return self._links.get(_key(name))

    def is_directory(self, name: str) -> bool:
        """Whether the archive has a directory of that name."""
        return _key(name) in self._directories
