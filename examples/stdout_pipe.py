"""Write an archive to standard output, for a pipe. Finished members are listed on standard error.

    python examples/stdout_pipe.py some/directory | bsdtar -tf -
    python examples/stdout_pipe.py some/directory | ssh backup 'cat > archive.zip'

If a file cannot be read or changes while it is read, this fails with a traceback and a non-zero exit status. With
`set -o pipefail`, the pipe has that status, too. The data is then incomplete and cannot be mistaken for an archive.
"""

import shutil
import sys
from pathlib import Path

from zipstream_adapter import Progress, stream_zip, walk


class Reporter:
    """Prints each finished member, that is, whenever `Progress.members` has increased."""

    def __init__(self) -> None:
        self.members = 0

    def __call__(self, progress: Progress) -> None:
        if progress.members > self.members:
            self.members = progress.members
            print(f"{progress.entry_read:12} {progress.entry.name}", file=sys.stderr)


def main(root: Path) -> None:
    if sys.stdout.isatty():
        sys.exit("standard output is a terminal: pipe it into a program, or redirect it to a file")
    # Do not use sys.stdout.buffer: if unbuffered (python -u), it may write less than given.
    with (
        open(sys.stdout.fileno(), "wb", closefd=False) as output,
        stream_zip(walk(root, prefix=root.resolve().name), compression="deflate", on_progress=Reporter()) as archive,
    ):
        shutil.copyfileobj(archive, output)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/stdout_pipe.py DIRECTORY")
    main(Path(sys.argv[1]))
