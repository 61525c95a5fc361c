"""A pair, a device and a request, brought together to the jobs that a schedule runs."""

from collections import Counter
from dataclasses import dataclass
from functools import cache

from rushes.bench.planning import roofline
from rushes.bench.planning.acceptance import TREE_DEPTH
from rushes.bench.planning.devices import Device, weight_bytes
from rushes.bench.planning.request import Costs
from rushes.bench.planning.roofline import Job
from rushes.bench.planning.shapes import ModelShape
from rushes.drafting.tree import SPECVLM_TREE, rank_paths
from rushes.errors import RushesError
from rushes.pruning.base import budget_of

GIB = 2**30


@dataclass(frozen=True, slots=True)
class Workload:
    """One request.

    Attributes:
        video_tokens: m, what the target reads of the video.
        text_tokens: Everything else in the prompt.
        new_tokens: Length of the answer, its first token included.
    """

    video_tokens: int
    text_tokens: int
    new_tokens: int

    def __post_init__(self) -> None:
        for what, value, least in (
            ("video-tokens", self.video_tokens, 0),
            ("text-tokens", self.text_tokens, 1),
            ("new-tokens", self.new_tokens, 2),
        ):
            if value < least:
                raise RushesError(f"--{what} must be {least} or more, got {value}")

    def prompt(self, keep: float = 1.0) -> int:
        """Tokens of the prompt, with this share of the video.

        Raises:
            RushesError: keep is not in 0..1, or keeps less than one token.
        """
        return budget_of(keep, self.video_tokens) + self.text_tokens


@dataclass(frozen=True, slots=True)
class Setting:
    """What is planned for."""

    target: ModelShape
    draft: ModelShape
    device: Device
    devices: int
    dtype: str
    workload: Workload

    def __post_init__(self) -> None:
        if self.devices not in (1, 2):
            raise RushesError(f"--devices must be 1 (shared) or 2 (one for each model), got {self.devices}")
        if self.devices == 2 and self.device.half is not None:
            raise RushesError("--devices 2 was asked for, and this machine was measured as one; leave it at 1")

    def costs(self, keep: float, *, tree: bool = False) -> Costs:
        """The jobs of a request whose draft sees this share of the video.

        The cache is as long as in the middle of the answer.
        """
        width, load = weight_bytes(self.dtype), self.workload
        half = load.new_tokens / 2
        context, seen = load.prompt() + half, load.prompt(keep) + half

        def of(shape: ModelShape, parts: list[roofline.Part], layers: int | None = None) -> Job:
            return roofline.job(parts, shape.layers if layers is None else layers, self.device)

        @cache
        def review(rows: int) -> Job:
            return of(self.target, roofline.text_pass(self.target, rows, context, width))

        levels = [of(self.draft, roofline.text_pass(self.draft, r, seen, width)) for r in tree_rows(tree)]
        # A blind draft does not encode the video. The towers count no layers: their arithmetic dwarfs the overhead.
        viewed = load.video_tokens if keep else 0
        return Costs(
            target_vision=of(self.target, roofline.vision(self.target, load.video_tokens, width), 0),
            target_prefill=of(self.target, roofline.prefill(self.target, load.prompt(), width)),
            draft_vision=of(self.draft, roofline.vision(self.draft, viewed, width), 0),
            draft_prefill=of(self.draft, roofline.prefill(self.draft, load.prompt(keep), width)),
            review=review,
            levels=levels,
            rates=lambda one, other: roofline.rates(one, other, self.devices),
        )

    def missing_memory(self) -> str | None:
        """In words, what does not fit at keep 1; None where all does. Activations are not counted."""
        width, load = weight_bytes(self.dtype), self.workload
        tokens = load.prompt() + load.new_tokens
        needs = {
            role: width * shape.parameters + tokens * shape.kv_bytes(width)
            for role, shape in (("target", self.target), ("draft", self.draft))
        }
        if self.devices == 1:
            needs = {"pair": sum(needs.values())}
        lacking = [
            f"the {who} needs {need / GIB:.1f} GiB, {(need - self.device.memory_bytes) / GIB:.1f} GiB too many"
            for who, need in needs.items()
            if need > self.device.memory_bytes
        ]
        return f"does not fit into {self.device.name}: {'; '.join(lacking)}" if lacking else None


@cache
def tree_rows(tree: bool) -> tuple[int, ...]:
    """Rows of the draft's forward for each level: one for a chain; of a tree, the nodes that have children."""
    if not tree:
        return (1,)
    nodes = [name for level in rank_paths(SPECVLM_TREE, TREE_DEPTH) for name in level]
    inner = Counter(len(parent) for parent in {name[:-1] for name in nodes})
    return tuple(inner[depth] for depth in range(TREE_DEPTH))
