"""What was freed goes back."""

import ctypes
import sys

import psutil
import pytest

from rushes.serve.heap import give_back, limit_arenas

MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
def test_free_memory_under_what_is_in_use_goes_back_to_the_system() -> None:
    limit_arenas()
    libc, process = ctypes.CDLL(None), psutil.Process()
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    held = [libc.malloc(60_000) for _ in range(2000)]  # about 110 MiB
    for place in held:
        ctypes.memset(place, 1, 60_000)
    full = process.memory_info().rss
    for place in held[:-1]:  # the last one keeps the heap from shrinking by itself
        libc.free(place)
    give_back()
    assert process.memory_info().rss < full - 80 * MIB
    libc.free(held[-1])
