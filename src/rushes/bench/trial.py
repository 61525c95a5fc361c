"""What a benchmark runs: a way of decoding, and a question."""

from collections.abc import Callable
from dataclasses import dataclass

PLAIN = "ar"
STOCK = "transformers"  # `transformers.generate` on the same target: the yardstick for plain decoding
ASSISTED = "assisted"  # `transformers.generate(assistant_model=...)`: its draft never sees the video


@dataclass(frozen=True, slots=True)
class Trial:
    """One way of decoding.

    Attributes:
        name: In tables; no two trials of a run share one.
        method: A method of `rushes`, or `STOCK`, or `ASSISTED`.
        keep, gamma: As in `Pair.generate`.
        group: The ablation that it belongs to; "" for the main table.
    """

    name: str
    method: str
    keep: float = 0.1
    gamma: int | str | None = None
    group: str = ""

    @property
    def ours(self) -> bool:
        """Is it a method of `rushes`?"""
        return self.method not in (STOCK, ASSISTED)


@dataclass(frozen=True, slots=True)
class Question:
    """One sample: a video file and a prompt.

    Attributes:
        id: In the results; by default the video.
        score: Judges an answer, 0..1, if the truth is known.
    """

    video: str
    prompt: str
    score: Callable[[str], float | None] | None = None
    id: str = ""

    @property
    def name(self) -> str:
        return self.id or self.video
