"""An archive to standard output, for whatever reads a pipe; its members, as they are finished, on standard error.

    python examples/stdout_pipe.py some/directory | bsdtar -tf -
    python examples/stdout_pipe.py some/directory | ssh backup 'cat > archive.zip'

If a file cannot be read, or changes while it is, this fails with a traceback and a status that is not 0. What has
gone down the pipe by then has no end and does not pass for an archive (in a shell: `set -o pipefail`).
"""

import shutil
import sys
from pathlib import Path

from zipstream_adapter import Progress, stream_zip, walk


class Reporter:
    """Prints each member once it is finished: `members` has risen then."""

    def __init__(self) -> None:
        self.members = 0

    def __call__(self, progress: Progress) -> None:
        if progress.members > self.members:
            self.members = progress.members
            print(f"{progress.entry_read:12} {progress.entry.name}", file=sys.stderr)


def main(root: Path) -> None:
    if sys.stdout.isatty():
        sys.exit("standard output is a terminal: pipe it into a program, or redirect it to a file")
    # sys.stdout.buffer may be unbuffered (python -u) and then write less than it was given.
    with (
        open(sys.stdout.fileno(), "wb", closefd=False) as output,
        stream_zip(walk(root, prefix=root.resolve().name), compression="deflate", on_progress=Reporter()) as archive,
    ):
        shutil.copyfileobj(archive, output)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/stdout_pipe.py DIRECTORY")
    main(Path(sys.argv[1]))
