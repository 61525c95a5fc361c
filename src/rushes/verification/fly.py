"""FLy: a mismatch passes where the target hesitates and goes on as the draft does (`methods.md` section 5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rushes.errors import RushesError
from rushes.verification.base import Hearing, Judge
from rushes.verification.counting import DIFFERS, LooseJudge
from rushes.verification.guards import ALL, check_guards
from rushes.verification.loose import deferred, hesitates
from rushes.window import Window


@dataclass(frozen=True, slots=True)
class Fly:
    """FLy's training-free loose verification of text (`methods.md` section 5).

    At a mismatch: rejected where the target is sure of its own token; else accepted only if the target agrees with all
    of the next candidates.

    Args:
        nats: Entropy of the target's three likeliest tokens, among themselves, below which it is sure.
        ahead: Candidates behind a mismatch that must match.
        strict: Last positions of a window where nothing is relaxed. A window that is no longer than this is verified
            exactly: give the drafter more, such as the paper's `chain:gamma=15`.
        guards: As of `LVSpec`.
    """

    nats: float = 0.3
    ahead: int = 5
    strict: int = 6
    guards: tuple[str, ...] = ALL
    lossless: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_guards(self.guards)
        if not self.nats >= 0:
            raise RushesError(f"nats must be 0 or more, got {self.nats}")
        for name in ("ahead", "strict"):
            if getattr(self, name) < 0:
                raise RushesError(f"{name} must be 0 or more, got {getattr(self, name)}")

    def check(self, depth: int, video_tokens: int) -> None:
        """Nothing hangs on the model."""

    def watches(self, depth: int) -> None:
        """No states."""

    def begin(self, hearing: Hearing) -> Judge:
        hearing.notes.append(DIFFERS)
        return _Deferring(self, hearing)


@dataclass(slots=True)
class _Deferring(LooseJudge):
    rule: Fly

    def _exempt(
        self, window: Window, choices: list[int], logits: Tensor, states: Tensor | None
    ) -> tuple[set[int], Sequence[float] | None]:
        if len(window) <= self.rule.strict:
            return set(), None
        unsure = hesitates(logits[: len(window)], self.rule.nats)
        return deferred(window.tokens, choices, unsure, self.rule.ahead, self.rule.strict), None
