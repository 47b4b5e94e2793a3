"""Memory of large blocks goes back to the system: what uploads took must not stay with the server for good."""

from __future__ import annotations

import subprocess
import sys

import pytest

_WORK = """
import os, sys, threading
if sys.argv[1] == "back":
    from tapedeck.heap import give_back_large_blocks
    give_back_large_blocks()

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

def use():
    for _ in range(4):
        block = b"x" * (8 << 20)
        del block
    meet.wait()

before, meet = resident(), threading.Barrier(9)
threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads:
    thread.start()
meet.wait()
for thread in threads:
    thread.join()
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what glibc does")
def test_large_blocks_are_not_kept() -> None:
    kept, back = (
        int(subprocess.run([sys.executable, "-c", _WORK, how], capture_output=True, check=True, text=True).stdout)
        for how in ("kept", "back")
    )
    assert back < 4, f"MiB after the work; as it is without, {kept}"
