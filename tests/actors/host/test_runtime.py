"""What is asked of the C library, seen from outside: what is freed is free."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FREED_IN_BETWEEN = """
from actors.host.runtime import give_back_what_is_large
from tests.daemon.test_wire import resident_bytes
import os
give_back_what_is_large()
bytearray(30_000_000)  # glibc then keeps what is smaller
kept, large = [], []
before = resident_bytes(os.getpid())
for _ in range(16):
    large.append(bytearray(b"x") * 4_000_000)
    kept.append(bytearray(b"x") * 100_000)
large.clear()
print((resident_bytes(os.getpid()) - before) // 1_000_000)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="its allocator is asked")
def test_memory_between_what_is_kept_goes_back_to_the_system() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FREED_IN_BETWEEN], capture_output=True, check=True, timeout=60
    )
    assert int(ran.stdout) < 10
