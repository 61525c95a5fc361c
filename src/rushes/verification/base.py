"""What a verifier is, and the lossless one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from rushes.sampling import Sampling
from rushes.verification.exact import verify_exact
from rushes.verification.lossless import verify_sampling
from rushes.window import Guess, Verdict, Window

Ask = Callable[[], Guess | None]  # for the guess behind a window's main path; may wait for it, may have none


@dataclass(slots=True)
class Hearing:
    """What a verifier may know of a request before its first round.

    Attributes:
        video: (m, H) states of the video tokens, each of length 1, behind the layer that the verifier watches; None if
            it watches none.
        guarded: Tokens that its guards protect.
        notes: What the user should be told; the verifier adds to it.
    """

    video: Tensor | None = None
    guarded: frozenset[int] = frozenset()
    notes: list[str] = field(default_factory=list)


class Judge(Protocol):
    """Decides in one request which candidates of a window stay."""

    @property
    def lossless(self) -> bool:
        """Is the output that of the target alone?"""
        ...

    def verify(
        self,
        window: Window,
        logits: Tensor,
        sampling: Sampling,
        generator: torch.Generator,
        guess: Ask | None = None,
        states: Tensor | None = None,
    ) -> Verdict:
        """Judge `window` by the target's (n + 1, V) logits; row 0 follows the last emitted token.

        `guess` is asked only when the window's main path was accepted to its end. `states` (n + 1, H) are those behind
        the layer that the verifier watches.
        """
        ...

    def metrics(self) -> dict[str, Any]:
        """The `verification` object of the metrics."""
        ...


class Verifier(Protocol):
    """A way of judging, before there is a request. A verifier that is not lossless takes greedy chains only."""

    @property
    def lossless(self) -> bool: ...

    @property
    def guards(self) -> tuple[str, ...]:
        """Names of the guards that it wants (`guards.ALL`)."""
        ...

    def check(self, depth: int, video_tokens: int) -> None:
        """Refuse what cannot work.

        Args:
            depth: Layers of the target.
            video_tokens: m.

        Raises:
            RushesError: A layer that does not exist, more video tokens wanted than there are.
        """
        ...

    def watches(self, depth: int) -> int | None:
        """The layer whose states it reads, 1..depth, `depth` behind the final norm; None for none."""
        ...

    def begin(self, hearing: Hearing) -> Judge:
        """The judge of one request."""
        ...


@dataclass(frozen=True, slots=True)
class Lossless:
    """Exact under greedy decoding, speculative sampling otherwise. An empty window is plain decoding."""

    lossless: ClassVar[bool] = True
    guards: ClassVar[tuple[str, ...]] = ()

    def check(self, depth: int, video_tokens: int) -> None:
        """Everything works."""

    def watches(self, depth: int) -> None:
        """No states."""

    def begin(self, hearing: Hearing) -> "Judge":
        return self

    def verify(
        self,
        window: Window,
        logits: Tensor,
        sampling: Sampling,
        generator: torch.Generator,
        guess: Ask | None = None,
        states: Tensor | None = None,
    ) -> Verdict:
        if sampling.greedy:  # the target's choice does not hang on what was guessed
            return verify_exact(window, logits)
        return verify_sampling(window, sampling.probabilities(logits), generator, guess)

    def metrics(self) -> dict[str, Any]:
        return {"relaxed": 0, "shifted": 0}
