"""What training on a CPU asks of the C library's allocator."""

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Numbers of `mallopt`'s parameters in glibc."""


def keep_freed() -> None:
    """Let this process keep the memory that it frees, for what it allocates next; so it stays as large as it ever was.

    glibc gives every large block back to the system as it is freed, and the next one comes page by page, each cleared first:
    a tenth of a run's time and more (docs/experiments/2026-11-27-training-steps-cpu.md). Other C libraries are left alone.
    """
    if sys.platform != "linux":
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(MMAP_MAX, 0)
        set_option(TRIM_THRESHOLD, -1)
