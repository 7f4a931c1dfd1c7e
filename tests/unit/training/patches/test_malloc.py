"""Memory that training has freed is kept by its process."""

import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, resource
from pathlib import Path
from autotool_training.patches.malloc import keep_freed_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

if {keep}:
    keep_freed_memory()
before = resident()
block = bytearray(b"1") * (64 << 20)
del block
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and asks glibc")
@pytest.mark.parametrize("keep", [True, False])
def test_freed_memory_is_kept_for_the_next_tensor(keep: bool) -> None:
    process = subprocess.run([sys.executable, "-c", SCRIPT.format(keep=keep)], check=True, capture_output=True, text=True)

    assert (int(process.stdout) > 60 << 20) is keep
