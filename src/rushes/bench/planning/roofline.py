"""What one pass of a model costs: bytes and operations by part, and the seconds that a device needs for them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rushes.bench.planning.devices import Device
from rushes.bench.planning.shapes import ModelShape

WEIGHTS, KV, COMPUTE, OVERHEAD = "weights bandwidth", "KV bandwidth", "compute", "overhead"
REASONS = (WEIGHTS, KV, COMPUTE, OVERHEAD)


@dataclass(frozen=True, slots=True)
class Part:
    """Traffic and arithmetic of one part of a pass; `reason` names what its traffic is."""

    reason: str
    bytes: float
    flops: float


@dataclass(frozen=True, slots=True)
class Job:
    """A pass on a device.

    Attributes:
        seconds: Alone on the device.
        reasons: The same seconds by what they are spent on.
        memory, compute: Share of the device's bandwidth and operations that it takes while alone.
        beside: Its speed, as a share of that alone, while another job runs on the other half of the threads; None
            where two jobs share bandwidth and operations instead.
    """

    seconds: float
    reasons: Mapping[str, float] = field(default_factory=dict)
    memory: float = 0.0
    compute: float = 0.0
    beside: float | None = None

    def part(self, share: float) -> "Job":
        """A share of this job, such as its first quarter."""
        reasons = {name: share * seconds for name, seconds in self.reasons.items()}
        return Job(share * self.seconds, reasons, self.memory, self.compute, self.beside)


def text_pass(shape: ModelShape, rows: int, context: float, width: int) -> list[Part]:
    """A pass over `rows` tokens with `context` tokens in the cache, and logits for every row.

    Args:
        width: Bytes of a weight and of a cache entry.
    """
    attention = 4.0 * shape.layers * shape.heads * shape.head_dim * rows * (context + (rows + 1) / 2)
    return [
        Part(WEIGHTS, width * shape.layer_parameters, 2.0 * shape.layer_parameters * rows),
        Part(WEIGHTS, width * shape.head_parameters, 2.0 * shape.head_parameters * rows),
        Part(KV, shape.kv_bytes(width) * (context + rows), attention),
    ]


def prefill(shape: ModelShape, tokens: int, width: int) -> list[Part]:
    """A pass over a whole prompt, with logits for its last row."""
    layers, _, attention = text_pass(shape, tokens, 0, width)
    return [layers, Part(WEIGHTS, width * shape.head_parameters, 2.0 * shape.head_parameters), attention]


def vision(shape: ModelShape, tokens: int, width: int) -> list[Part]:
    """The vision tower over what becomes `tokens` video tokens, by its count of parameters alone.

    An approximation: the tower's own attention, which hangs on windows and frames, is left out.
    """
    patches = tokens * shape.patches_per_token
    flops = 2.0 * (shape.vision_parameters * patches + shape.projector_parameters * tokens)
    return [Part(WEIGHTS, width * (shape.vision_parameters + shape.projector_parameters), flops)] if tokens else []


def job(parts: list[Part], layers: int, device: Device) -> Job:
    """What a device makes of a pass of so many layers."""
    alone = _reasons(parts, layers, device)
    seconds = sum(alone.values())
    beside = None
    if device.half is not None:
        halved = sum(_reasons(parts, layers, device.half).values())
        beside = min(1.0, seconds / halved) if halved else 1.0
    if not seconds:
        return Job(0.0, alone, beside=beside)
    memory = sum(part.bytes for part in parts) / device.bandwidth / seconds
    compute = sum(part.flops for part in parts) / device.flops / seconds
    return Job(seconds, alone, memory, compute, beside)


def _reasons(parts: list[Part], layers: int, device: Device) -> dict[str, float]:
    """Seconds by reason; their sum is the pass."""
    reasons = dict.fromkeys(REASONS, 0.0)
    for part in parts:
        traffic, arithmetic = part.bytes / device.bandwidth, part.flops / device.flops
        if not device.hides:
            reasons[part.reason] += traffic
            reasons[COMPUTE] += arithmetic
        else:
            reasons[part.reason if traffic >= arithmetic else COMPUTE] += max(traffic, arithmetic)
    launches = layers * device.layer_s + (device.pass_s if layers else 0.0)
    # The host launches ahead of the device: only what the device waits for it counts.
    reasons[OVERHEAD] = max(0.0, launches - sum(reasons.values())) if device.hides else launches
    return reasons


def rates(one: Job | None, other: Job | None, devices: int) -> tuple[float, float]:
    """How fast two jobs go side by side, each as a share of its speed alone.

    On two devices they do not meet. On one GPU with two streams both slow down until the sum of what they take of the
    bandwidth, and of the operations, fits. On a CPU each has its half of the threads.
    """
    if devices > 1 or one is None or other is None:
        return 1.0, 1.0
    if one.beside is not None and other.beside is not None:
        return one.beside, other.beside
    fits = 1 / max(1.0, one.memory + other.memory, one.compute + other.compute)
    return fits, fits
