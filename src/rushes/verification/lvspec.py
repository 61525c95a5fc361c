"""LVSpec: strict where a word depends on the video, loose where it does not (ACL 2026; `methods.md` section 5)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from rushes.errors import RushesError
from rushes.verification.base import Hearing, Judge, Lossless
from rushes.verification.counting import DIFFERS, LooseJudge, check_share
from rushes.verification.guards import ALL, check_guards
from rushes.verification.loose import least_relevant
from rushes.verification.relevance import relevance
from rushes.window import Window

SHARE = 0.3
STATES = ("token", "before")
REFERENCES = ("window", "answer")


@dataclass(frozen=True, slots=True)
class LVSpec:
    """Strict where a word depends on the video, loose where it does not (LVSpec, ACL 2026; `methods.md` section 5).

    A candidate's relevance is the mean of the `n` largest cosines between the target's state for it and the target's
    states at the video tokens. Of the candidates, the fraction `lambda` with the least relevance need not equal the
    target's choice; of the others, one that stands at most `w` places from where the target would have it passes too.
    With lambda 0 nothing is relaxed and nothing shifts: exact verification.

    Args:
        lambda_: Written `lambda`: the share of the candidates that is relaxed, 0..1. The paper's is 0.7; the default is
            the largest that kept 99.8 % of the bundled target's score on validation videos (`results/front.json`).
        n: N, cosines averaged.
        w: Places that a token may be off; 0 switches the rule off.
        layer: Whose states are compared: behind so many of the target's layers, or counted from the end; -1, behind
            all of them and the final norm.
        at: Which state stands for a candidate: the one at the "token" itself, as in the paper, or the one "before" it,
            from which the target's own choice in its place comes (our reading: what that state sees of the video is
            what the word depends on; the state at the token already looks for the next one).
        reference: What lambda is a share of: the round's candidates ("window"), or all candidates so far ("answer").
        guards: What is never relaxed; "none" for nothing.
    """

    lambda_: float = SHARE
    n: int = 10
    w: int = 2
    layer: int = -1
    at: str = "before"
    reference: str = "window"
    guards: tuple[str, ...] = ALL
    lossless: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_share(self.lambda_)
        check_guards(self.guards)
        if self.n < 1:
            raise RushesError(f"n must be 1 or more, got {self.n}")
        if self.w < 0:
            raise RushesError(f"w must be 0 or more, got {self.w}")
        if self.at not in STATES:
            raise RushesError(f"at must be 'token' or 'before', got {self.at!r}")
        if self.reference not in REFERENCES:
            raise RushesError(f"reference must be 'window' or 'answer', got {self.reference!r}")

    def check(self, depth: int, video_tokens: int) -> None:
        if not (1 <= self.layer <= depth or -depth <= self.layer <= -1):
            raise RushesError(f"layer {self.layer} does not exist: the target has 1 to {depth}, or -{depth} to -1")
        if 0 < video_tokens < self.n:
            raise RushesError(f"n is {self.n}, but the prompt has only {video_tokens} video tokens")

    def watches(self, depth: int) -> int:
        return self.layer if self.layer > 0 else depth + 1 + self.layer

    def begin(self, hearing: Hearing) -> Judge:
        if hearing.video is None or len(hearing.video) == 0:
            hearing.notes.append("lvspec: no video in the prompt to be strict about; verified exactly, and lossless")
            return Lossless()
        hearing.notes.append(DIFFERS)
        return _Relevant(self, hearing)


@dataclass(slots=True)
class _Relevant(LooseJudge):
    rule: LVSpec
    seen: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)

    @property
    def _shift(self) -> int:
        return self.rule.w if self.rule.lambda_ > 0 else 0

    def _exempt(
        self, window: Window, choices: list[int], logits: Tensor, states: Tensor | None
    ) -> tuple[set[int], Sequence[float] | None]:
        if states is None:  # the first token: there is no window before it
            self.last = []
            return set(), []
        assert self.hearing.video is not None, "without a video verification is exact"
        rows = states if self.rule.at == "before" else states[1:]
        self.last = relevance(rows, self.hearing.video, self.rule.n).tolist()
        found = self.last[: len(window)]
        exempt = least_relevant(found, self.rule.lambda_, self.seen)
        if self.rule.reference == "answer":
            self.seen += found
        return exempt, found

    def _guessed(self, place: int) -> tuple[bool, float | None]:
        if place >= len(self.last):  # nothing has been run at the guess itself
            return True, None
        found, whole = self.last[place], self.rule.reference == "answer"
        relaxed = least_relevant([found], self.rule.lambda_, self.seen if whole else self.last[:place])
        if whole:
            self.seen.append(found)
        return not relaxed, found

    def metrics(self) -> dict[str, Any]:
        video = self.hearing.video
        assert video is not None, "without a video verification is exact"
        return {**LooseJudge.metrics(self), "relevance_bytes": video.numel() * video.element_size()}
