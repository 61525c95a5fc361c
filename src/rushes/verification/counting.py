"""What all loose judges share: one walk down the window, and a count of what passed."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from rushes.errors import RushesError
from rushes.sampling import Sampling
from rushes.verification.base import Ask, Hearing
from rushes.verification.loose import judge, mark_of
from rushes.window import Guess, Verdict, Window

DIFFERS = "verified loosely: the answer may differ from the target's own (lossless: false)"


def check_share(share: float) -> None:
    """Refuse a lambda that is no share.

    Raises:
        RushesError: Outside 0..1.
    """
    if not 0 <= share <= 1:
        raise RushesError(f"lambda is a share of the candidates, 0 to 1, got {share}")


@dataclass(slots=True)
class LooseJudge:
    """A judge of one request; counts what it let pass.

    Attributes:
        begun: The first token is there. It is the target's own, whatever the draft has guessed meanwhile.
    """

    rule: Any
    hearing: Hearing
    lossless: ClassVar[bool] = False
    relaxed: int = 0
    shifted: int = 0
    seconds: float = 0.0
    exempt: int = 0
    judged: int = 0
    begun: bool = False

    def verify(
        self,
        window: Window,
        logits: Tensor,
        sampling: Sampling,
        generator: torch.Generator,
        guess: Ask | None = None,
        states: Tensor | None = None,
    ) -> Verdict:
        assert sampling.greedy, "loose verification compares greedy choices"
        choices = logits.argmax(-1).tolist()
        started = time.perf_counter()
        exempt, found = self._exempt(window, choices, logits, states)
        self.seconds += time.perf_counter() - started
        guarded = self.hearing.guarded
        verdict = judge(window, choices, exempt, shift=self._shift, guarded=guarded, relevance=found)
        if self.begun and len(verdict.path) == len(window) and guess is not None:
            verdict = self._with_guess(verdict, choices, guess())
        self.begun = True
        self.exempt += len(exempt)
        self.judged += len(window)
        for mark in verdict.marks:
            self.relaxed += mark.how == "relaxed"
            self.shifted += mark.how == "shifted"
        return verdict

    def _with_guess(self, verdict: Verdict, choices: list[int], guess: Guess | None) -> Verdict:
        """The verdict on an accepted chain, with what the draft holds for the token behind it."""
        if guess is None:
            return verdict
        strict, relevance = self._guessed(len(verdict.path))
        mark = mark_of(guess.token, choices, len(verdict.path), strict, self._shift, self.hearing.guarded, relevance)
        token = guess.token if mark.drafted else verdict.next_token
        return Verdict(verdict.path, token, guessed=True, marks=(*verdict.marks[:-1], mark))

    def _guessed(self, place: int) -> tuple[bool, float | None]:
        """Is the guess behind the window's `place` candidates strict, and how relevant is it?"""
        return True, None

    @property
    def _shift(self) -> int:
        """Places that a token may be off."""
        return 0

    def _exempt(
        self, window: Window, choices: list[int], logits: Tensor, states: Tensor | None
    ) -> tuple[set[int], Sequence[float] | None]:
        raise NotImplementedError

    def metrics(self) -> dict[str, Any]:
        """The `verification` object of the metrics."""
        return {
            "relaxed": self.relaxed,
            "shifted": self.shifted,
            "exempt_share": self.exempt / self.judged if self.judged else 0.0,
            "relevance_time_s": self.seconds,
            "relevance_bytes": 0,
        }
