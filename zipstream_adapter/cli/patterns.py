"""Shell patterns of --exclude and --include, which know whether they matched anything."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


class Patterns:
    """Shell patterns, matched against a whole relative name and against its last component.

    Attributes:
        unmatched: the patterns that have matched nothing yet.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = [(pattern, pattern.rstrip("/")) for pattern in patterns]
        self.unmatched = {pattern for pattern, _ in self._patterns}

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def match(self, name: str) -> bool:
        """Return whether a pattern matches `name`, a path with forward slashes."""
        name = name.rstrip("/")
        last, found = name.rpartition("/")[2], False
        for given, pattern in self._patterns:
            if fnmatchcase(name, pattern) or fnmatchcase(last, pattern):
                found = True
                if given not in self.unmatched:
                    return True
                self.unmatched.discard(given)
        return found
