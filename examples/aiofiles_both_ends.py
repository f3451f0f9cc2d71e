"""aiofiles at both ends: handles that it has opened are the sources, and a file that it writes is the target.

    python examples/aiofiles_both_ends.py some/directory archive.zip

A path would do as a source, and would be read through aiofiles as well: handles are for who opens files in a way of
their own. Everything that waits for the disk does so on threads, so whatever else runs on this event loop goes on. The
archive stands under its name only once it is whole.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import aiofiles
import aiofiles.os

from zipstream_adapter import Entry, async_stream_zip


def files(root: Path) -> Iterator[Path]:
    return (path for path in sorted(root.rglob("*")) if path.is_file())


async def report(root: Path) -> AsyncIterator[bytes]:
    """A member that is made while it is written: all files and their sizes."""
    for path in await asyncio.to_thread(lambda: list(files(root))):
        size = await aiofiles.os.path.getsize(path)
        yield f"{size:12} {path.relative_to(root).as_posix()}\n".encode()


def entries(root: Path) -> Iterator[Entry]:
    """Files are opened one by one, when their turn comes, and closed after it."""
    for path in files(root):
        yield Entry(f"files/{path.relative_to(root).as_posix()}", partial(aiofiles.open, path, "rb"))
    yield Entry("report.txt", partial(report, root))


async def save(root: Path, target: Path) -> None:
    part = target.with_name(target.name + ".part")
    async with aiofiles.open(part, "wb") as output:
        try:
            async with async_stream_zip(entries(root), compression="auto") as archive:
                async for chunk in archive:
                    await output.write(chunk)
        except BaseException:
            await aiofiles.os.remove(part)
            raise
    await aiofiles.os.replace(part, target)


def main(root: Path, target: Path) -> None:
    if target.resolve().is_relative_to(root.resolve()):
        sys.exit(f"{target} is in {root}, and so would become a part of itself")
    asyncio.run(save(root, target))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python examples/aiofiles_both_ends.py DIRECTORY ARCHIVE")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
