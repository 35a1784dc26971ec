"""What the program asks of the machine."""

import platform
import subprocess
import sys

import pytest

COUNT_FAULTS = """
import resource
from anticipate.machine import keep_freed_memory
{call}
def fill():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * 50_000_000
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
fill()
print(fill())
"""


def page_faults(call):
    """Pages that the system has to clear for 50 MB that were freed just before."""
    command = [sys.executable, "-c", COUNT_FAULTS.format(call=call)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the allocator of glibc")
def test_freed_memory_is_used_again_without_asking_the_system():
    assert page_faults("keep_freed_memory()") < 100 < page_faults("")
