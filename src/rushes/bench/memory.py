"""Peak memory of a block: what GPUs allocated, or what the process held on a CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(slots=True)
class Peak:
    """Bytes at the peak, once the block has ended; None where the system does not tell."""

    bytes: int | None = None


@contextmanager
def peak_of(devices: set[torch.device]) -> Iterator[Peak]:
    """Measure the block: on GPUs what torch allocated on all of them, on a CPU the process's resident memory."""
    peak = Peak()
    gpus = [device for device in devices if device.type == "cuda"]
    known = bool(gpus) or _reset()
    for device in gpus:
        torch.cuda.reset_peak_memory_stats(device)
    yield peak
    if gpus:
        peak.bytes = sum(torch.cuda.max_memory_allocated(device) for device in gpus)
    elif known:
        peak.bytes = _high_water()


def _reset() -> bool:
    """Start the process's high-water mark anew; only Linux can."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _high_water() -> int | None:
    try:
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) * 1024
