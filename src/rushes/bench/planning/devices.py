"""Devices as a roofline sees them: bytes a second, operations a second, and what a layer costs beside both."""

import math
from dataclasses import dataclass

from rushes.errors import RushesError, unknown_name

HERE = ("here", "cpu")  # this machine, measured when it is asked for

# What kernels reach of a data sheet: a matrix-vector product streams its weights at 75 to 85 % of the peak bandwidth,
# and a large matrix product reaches about 60 % of the dense peak at the power that these cards are allowed.
BANDWIDTH_SHARE = 0.8
FLOPS_SHARE = 0.6

# What the host needs to launch one decoder layer from eager PyTorch, whatever the size of its matrices: gpt-fast
# reports 25.5 tokens/s for a 7B model of 32 layers before compilation, 1.2 ms a layer, and a host of today is faster.
EAGER_LAYER_S = 0.8e-3

PEAK_DTYPES = {"bfloat16": 2, "float16": 2, "float32": 4}  # bytes of a weight


@dataclass(frozen=True, slots=True)
class Device:
    """What a device reaches, not what its data sheet says.

    Attributes:
        bandwidth: Bytes a second that stream from memory.
        flops: Operations a second of a matrix product, a multiplication and an addition counted as two.
        memory_bytes: What it holds; infinity where nobody said.
        layer_s, pass_s: Seconds of a decoder layer, and of a pass beside its layers, that hang neither on bytes nor on
            operations: launches, Python.
        hides: Memory traffic, arithmetic and launches overlap, as on a GPU, so that the slowest counts. Otherwise
            they add up, as on a CPU.
        half: The same device with its threads split between two workers that are both busy; None where workers share
            it by its bandwidth and operations alone.
    """

    name: str
    bandwidth: float
    flops: float
    memory_bytes: float = math.inf
    layer_s: float = 0.0
    pass_s: float = 0.0
    hides: bool = True
    half: "Device | None" = None

    def __post_init__(self) -> None:
        for what, value in (("bandwidth", self.bandwidth), ("flops", self.flops), ("memory", self.memory_bytes)):
            if not value > 0 or (math.isinf(value) and what != "memory"):
                raise RushesError(f"device {self.name!r}: {what} must be a number above 0, got {value:g}")
        for overhead in (self.layer_s, self.pass_s):
            if not 0 <= overhead < math.inf:
                raise RushesError(f"device {self.name!r}: overhead must be 0 or more seconds a layer, got {overhead:g}")


@dataclass(frozen=True, slots=True)
class Sheet:
    """A data sheet: peak bandwidth, peak dense operations with 16-bit inputs and fp32 sums, and in plain fp32."""

    bandwidth: float
    flops_16: float
    flops_32: float
    memory_bytes: float


# NVIDIA's data sheets: A100 (SXM), H100 (SXM), H200, L4 and L40S product briefs; the Ada and Ampere GA102 white papers
# for the two GeForce cards. Where a sheet states operations "with sparsity", half of it stands here.
SHEETS = {
    "A100-40": Sheet(1.555e12, 312e12, 19.5e12, 40e9),
    "A100-80": Sheet(2.039e12, 312e12, 19.5e12, 80e9),
    "H100": Sheet(3.35e12, 989e12, 67e12, 80e9),
    "H200": Sheet(4.8e12, 989e12, 67e12, 141e9),
    "L4": Sheet(300e9, 121e12, 30.3e12, 24e9),
    "L40S": Sheet(864e9, 362e12, 91.6e12, 48e9),
    "RTX-4090": Sheet(1.008e12, 165e12, 82.6e12, 24e9),
    "RTX-3090": Sheet(936e9, 71e12, 35.6e12, 24e9),
}
CUSTOM = ("bandwidth", "flops", "memory", "overhead")


def weight_bytes(dtype: str) -> int:
    """Bytes of one weight.

    Raises:
        RushesError: Unknown dtype.
    """
    if dtype not in PEAK_DTYPES:
        raise unknown_name("dtype", dtype, list(PEAK_DTYPES))
    return PEAK_DTYPES[dtype]


def named(name: str, dtype: str) -> Device:
    """A device from its data sheet, or described as "bandwidth=2e12,flops=4e14,memory=80e9,overhead=1e-4".

    What is described counts as reached: no share is taken off. `overhead` is seconds a layer, and memory is optional.

    Raises:
        RushesError: Unknown name, with the nearest known one; a description that is incomplete or impossible.
    """
    if "=" in name:
        return _described(name)
    sheet = SHEETS.get(name) or SHEETS.get(name.upper().replace(" ", "-").replace("_", "-"))
    if sheet is None:
        raise unknown_name("device", name, [*SHEETS, *HERE])
    peak = sheet.flops_16 if weight_bytes(dtype) == 2 else sheet.flops_32
    return Device(name, sheet.bandwidth * BANDWIDTH_SHARE, peak * FLOPS_SHARE, sheet.memory_bytes, EAGER_LAYER_S)


def _described(text: str) -> Device:
    given: dict[str, float] = {}
    for part in text.split(","):
        key, _, value = (word.strip() for word in part.partition("="))
        if key not in CUSTOM:
            raise unknown_name("part of a device description", key, list(CUSTOM))
        if key in given:
            raise RushesError(f"device {text!r}: {key} is given twice")
        try:
            given[key] = float(value)
        except ValueError as error:
            raise RushesError(f"device {text!r}: {key} must be a number such as 2e12, got {value!r}") from error
    for key in CUSTOM[:2]:
        if key not in given:
            raise RushesError(f"device {text!r}: {key} is missing; give bandwidth=2e12,flops=4e14,memory=80e9")
    return Device(
        text, given["bandwidth"], given["flops"], given.get("memory", math.inf), given.get("overhead", EAGER_LAYER_S)
    )
