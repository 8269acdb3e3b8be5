"""Free and used memory of the machine, without loading torch."""

import importlib
import sys
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")


def free_host_bytes() -> int:
    """Return how many bytes can be allocated now on the machine and within the limit of its container."""
    available = psutil.virtual_memory().available
    try:
        limit, used = ((_CGROUP / name).read_text("utf-8") for name in ("memory.max", "memory.current"))
        return min(available, int(limit) - int(used))
    except (OSError, ValueError):  # no container, or a container without a limit ("max")
        return available


def peak_host_bytes() -> int:
    """Return the peak memory of this process in bytes; where the system records no peak, its present memory."""
    used = psutil.Process().memory_info()
    return max(used.rss, getattr(used, "peak_wset", 0) or _peak_of_posix())  # only Windows has a peak_wset


def _peak_of_posix() -> int:
    try:
        resource = importlib.import_module("resource")
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
