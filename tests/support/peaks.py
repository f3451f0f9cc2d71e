"""The peak of a process's memory, as a part of the programs that tests have run to learn theirs."""

from __future__ import annotations

# Defines peak(), in bytes.
PEAK = """
import resource, sys

def peak():
    # A process starts with its parent's peak in getrusage; Linux also tells its own.
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
"""

# Prints how much the peak grows by an upload of a member of `mebibytes` in one large part, after one in smaller parts.
# It comes after PEAK and a program that defines `store` and `mebibytes`.
PEAK_OF_A_PART = """
from concurrent.futures import ThreadPoolExecutor
from zipstream_adapter import Entry, ZipLayout
from zipstream_adapter.remote import upload_parts

def chunks():
    for number in range(mebibytes):
        yield number.to_bytes(8, "big") * 131072  # a fresh MiB each time

def upload(size):
    layout = ZipLayout([Entry("a", chunks, size=mebibytes << 20)])
    upload_parts(store, "a.zip", layout, ThreadPoolExecutor(1), part_size=size)

upload(17 << 20)
before = peak()
upload((mebibytes + 1) << 20)
sys.stdout.write(str(peak() - before))
"""
