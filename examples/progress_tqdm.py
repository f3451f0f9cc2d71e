"""A progress bar of tqdm: bytes, rate, and the time left, as the sizes of the files are known.

Run it: python examples/progress_tqdm.py DIRECTORY ARCHIVE
"""

import sys

from tqdm import tqdm

from zipstream_adapter import Progress, save, walk


def main(directory: str, archive: str) -> None:
    files = walk(directory)
    with tqdm(total=files.size, unit="B", unit_scale=True, unit_divisor=1024) as bar:

        def show(progress: Progress) -> None:
            bar.set_postfix_str(progress.entry.name, refresh=False)
            bar.update(progress.read - bar.n)

        save(archive, files, compression="deflate", on_progress=show)


if __name__ == "__main__":
    main(*sys.argv[1:])
