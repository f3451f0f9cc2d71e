"""aiofiles at both ends: sources are files opened by aiofiles, and the archive is written by aiofiles.

    python examples/aiofiles_both_ends.py some/directory archive.zip

A path also works as a source, and is read without blocking, too: use file objects if you open files in your own way.
All disk access runs on threads, so the event loop is never blocked. The archive gets its final name only when it is
complete.
"""

import asyncio
import secrets
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
    """Generate a member while it is written: a list of all files with their sizes in bytes."""
    for path in await asyncio.to_thread(lambda: list(files(root))):
        size = await aiofiles.os.path.getsize(path)
        yield f"{size:12} {path.relative_to(root).as_posix()}\n".encode()


def entries(root: Path) -> Iterator[Entry]:
    """Yield the entries. Each file is opened when its member is written, and closed afterwards."""
    for path in files(root):
        yield Entry(f"files/{path.relative_to(root).as_posix()}", partial(aiofiles.open, path, "rb"))
    yield Entry("report.txt", partial(report, root))


async def save(root: Path, target: Path) -> None:
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    async with aiofiles.open(part, "xb") as output:
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
        sys.exit(f"{target} is in {root}, so the archive would contain itself: give another place")
    asyncio.run(save(root, target))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python examples/aiofiles_both_ends.py DIRECTORY ARCHIVE")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
