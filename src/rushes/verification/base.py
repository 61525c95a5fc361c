"""What a verifier is, and the lossless one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from rushes.sampling import Sampling
from rushes.verification.exact import verify_exact
from rushes.verification.lossless import verify_sampling
from rushes.window import Guess, Verdict, Window

Ask = Callable[[], Guess | None]  # for the guess behind a window's main path; may wait for it, may have none


class Verifier(Protocol):
    """Decides which candidates of a window stay. `lossless`: the output is that of the target alone."""

    @property
    def lossless(self) -> bool: ...

    def verify(
        self,
        window: Window,
        logits: Tensor,
        sampling: Sampling,
        generator: torch.Generator,
        guess: Ask | None = None,
    ) -> Verdict:
        """Judge `window` by the target's (n + 1, V) logits; row 0 follows the last emitted token.

        `guess` is asked only when the window's main path was accepted to its end.
        """
        ...


@dataclass(frozen=True, slots=True)
class Lossless:
    """Exact under greedy decoding, speculative sampling otherwise. An empty window is plain decoding."""

    lossless: ClassVar[bool] = True

    def verify(
        self,
        window: Window,
        logits: Tensor,
        sampling: Sampling,
        generator: torch.Generator,
        guess: Ask | None = None,
    ) -> Verdict:
        if sampling.greedy:  # the target's choice does not hang on what was guessed
            return verify_exact(window, logits)
        return verify_sampling(window, sampling.probabilities(logits), generator, guess)
