"""Patch of the allocator of glibc (any version with `mallopt`, on Linux): keep freed memory in the process.

Reason: on a CPU every training step frees and allocates the same large blocks. glibc returns each to the system when it is
freed, and the next one is mapped and cleared page by page: a tenth of a run's time and more
(docs/experiments/2026-11-27-training-steps-cpu.md).
"""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Numbers of `mallopt`'s parameters in glibc's malloc.h."""


def keep_freed_memory() -> None:
    """Keep the memory that this process frees for its next allocations, so that the process never shrinks.

    Other C libraries are left alone.
    """
    if sys.platform != "linux":
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(MMAP_MAX, 0)
        set_option(TRIM_THRESHOLD, -1)
