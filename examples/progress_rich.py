"""Two progress bars of rich: the archive, and the file that is being read.

Run it: python examples/progress_rich.py DIRECTORY ARCHIVE
"""

import sys

from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

from zipstream_adapter import Progress, save, walk

COLUMNS = (
    TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
)  # fmt: skip


def main(directory: str, archive: str) -> None:
    files = walk(directory)
    with Bars(*COLUMNS) as bars:
        whole, file = bars.add_task(archive, total=files.size), bars.add_task("")

        def show(progress: Progress) -> None:
            bars.update(whole, completed=progress.read)
            bars.update(file, description=progress.entry.name, completed=progress.entry_read, total=progress.entry_size)

        save(archive, files, compression="deflate", on_progress=show)


if __name__ == "__main__":
    main(*sys.argv[1:])
