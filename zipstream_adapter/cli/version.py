"""The version of the package, without importing anything of it."""

import sys


def version() -> str:
    """Return the version of the package."""
    return str(sys.modules[__name__.partition(".")[0]].__version__)
