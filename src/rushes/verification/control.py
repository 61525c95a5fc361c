"""Random relaxation: the control beside which relevance must show what it is worth."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from rushes.errors import RushesError
from rushes.verification.base import Hearing, Judge
from rushes.verification.counting import DIFFERS, LooseJudge, check_share
from rushes.verification.guards import ALL, check_guards
from rushes.verification.loose import strict_count
from rushes.verification.lvspec import SHARE
from rushes.window import Window


@dataclass(frozen=True, slots=True)
class RandomRelaxation:
    """The control: as many candidates relaxed as by `lvspec`, with the same guards and shifts, but drawn at random.

    Args:
        lambda_, w, guards: As of `LVSpec`.
        seed: Of the draws.
    """

    lambda_: float = SHARE
    w: int = 2
    guards: tuple[str, ...] = ALL
    seed: int = 0
    lossless: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_share(self.lambda_)
        check_guards(self.guards)
        if self.w < 0:
            raise RushesError(f"w must be 0 or more, got {self.w}")

    def check(self, depth: int, video_tokens: int) -> None:
        """Nothing hangs on the model."""

    def watches(self, depth: int) -> None:
        """No states."""

    def begin(self, hearing: Hearing) -> Judge:
        hearing.notes.append(DIFFERS)
        return _Random(self, hearing)


@dataclass(slots=True)
class _Random(LooseJudge):
    rule: RandomRelaxation
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.rule.seed)

    @property
    def _shift(self) -> int:
        return self.rule.w if self.rule.lambda_ > 0 else 0

    def _exempt(
        self, window: Window, choices: list[int], logits: Tensor, states: Tensor | None
    ) -> tuple[set[int], Sequence[float] | None]:
        count = len(window) - strict_count(len(window), self.rule.lambda_)
        return set(self.dice.sample(range(len(window)), count)), None

    def _guessed(self, place: int) -> tuple[bool, float | None]:
        return self.dice.random() >= self.rule.lambda_, None
