"""A program: shows and drops an object of every class of the package that was never initialised; prints what fails.

To be run in Python's development mode, in which a file that cannot be closed as it is collected says so.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from typing import Any

import zipstream_adapter


def rooms() -> Iterator[Any]:
    for found in pkgutil.walk_packages(zipstream_adapter.__path__, "zipstream_adapter."):
        if found.name.endswith("__main__"):
            continue
        try:
            yield importlib.import_module(found.name)
        except ImportError as exc:  # an extra that is not installed
            if (exc.name or "").startswith("zipstream_adapter"):
                raise


def classes() -> dict[str, type]:
    return {
        f"{kind.__module__}.{kind.__qualname__}": kind
        for room in rooms()
        for kind in vars(room).values()
        if inspect.isclass(kind) and kind.__module__ == room.__name__
    }


def half_made(kind: type) -> Any:
    """An object of the class as `__new__` leaves it; None if it cannot be made so."""
    try:
        return kind.__new__(kind)  # type: ignore[call-overload]
    except TypeError:  # abstract, or a tuple that needs its fields
        return None


def is_ours(method: Any) -> bool:
    """Whether this package defines `method`, and not a base class from outside."""
    return getattr(method, "__module__", "").startswith("zipstream_adapter")


def main() -> None:
    said: list[str] = []
    sys.unraisablehook = lambda it: said.append(f"{it.exc_value!r} in {it.object!r}")
    count, found = 0, classes()
    gc.freeze()  # of all that was imported nothing is to be collected
    for name, kind in found.items():
        thing = half_made(kind)
        if thing is None:
            continue
        count += 1
        for show in (repr, str):
            if not is_ours(getattr(kind, f"__{show.__name__}__")):
                continue
            try:
                show(thing)
            except Exception as exc:
                sys.stdout.write(f"{show.__name__} of {name}: {exc!r}\n")
        del thing
        gc.collect()
        for message in said:
            sys.stdout.write(f"dropping {name}: {message}\n")
        said.clear()
    sys.stdout.write(f"{count} classes\n")


if __name__ == "__main__":
    main()
