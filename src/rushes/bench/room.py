"""Does it fit? Bytes that a model and its cache take, against bytes that are free."""

import psutil  # accelerate needs it as well
import torch
from torch import nn

from rushes.errors import RushesError

GIB = 2**30


def weight_bytes(model: nn.Module) -> int:
    """Bytes of all parameters, tied ones once; a model on the meta device is counted as if it were there."""
    return sum(one.numel() * one.element_size() for one in model.parameters())


def free_bytes(device: torch.device) -> int:
    """Bytes that this process can still take: of the GPU, or of the host's memory for any other device.

    On a GPU that is what the driver has left and what torch keeps for itself but does not use.
    """
    if device.type != "cuda":
        return int(psutil.virtual_memory().available)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept


def refuse_too_big(what: str, needed: int, device: torch.device) -> None:
    """Ask before building.

    Args:
        what: Subject of the message.
        needed: Bytes.

    Raises:
        RushesError: More than is free, with both numbers.
    """
    free = free_bytes(device)
    if needed > free:
        raise RushesError(
            f"{what} needs {needed / GIB:.1f} GiB, {free / GIB:.1f} GiB free on {device}: "
            "take smaller shapes, a shorter context or another device"
        )
