"""``python -m zipstream_adapter``: see `zipstream_adapter.cli`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
