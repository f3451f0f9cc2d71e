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
