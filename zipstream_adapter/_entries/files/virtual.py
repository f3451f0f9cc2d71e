"""Virtual files, as under /proc and /sys: generated when read, so that their stated size means nothing."""

from __future__ import annotations

import os
from functools import lru_cache

# Linux file systems with virtual files. Files of /sys state 4096 bytes, and mostly have less.
_VIRTUAL = frozenset(
    b"binfmt_misc bpf cgroup cgroup2 configfs debugfs efivarfs fusectl nfsd proc pstore resctrl rpc_pipefs securityfs "
    b"selinuxfs smackfs sysfs tracefs".split()
)
_MOUNTS = "/proc/self/mountinfo"


def stated_size(info: os.stat_result) -> int | None:
    """The size of a file according to `info`. Returns None if it means nothing: it is 0, or the file is virtual."""
    if not info.st_size:
        return None
    # A virtual file has no blocks on disk. On some file systems, other files have none either.
    if not getattr(info, "st_blocks", 1) and _has_virtual_files(info.st_dev):
        return None
    return info.st_size


@lru_cache(maxsize=256)
def _has_virtual_files(device: int) -> bool:
    """Whether the file system with this device number (``st_dev``) has virtual files."""
    try:
        with open(_MOUNTS, "rb") as mounts:
            return any(_is_virtual(line, device) for line in mounts)
    except OSError:  # not Linux
        return False


def _is_virtual(line: bytes, device: int) -> bool:
    """Whether a line of mountinfo (proc(5)) is about `device` and names one of these file systems."""
    head, _, tail = line.partition(b" - ")
    number = f"{os.major(device)}:{os.minor(device)}".encode()
    return head.split()[2:3] == [number] and not _VIRTUAL.isdisjoint(tail.split()[:1])
