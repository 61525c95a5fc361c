"""What a verifier is, and the lossless one."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from rushes.sampling import Sampling
from rushes.verification.exact import verify_exact
from rushes.verification.lossless import verify_sampling
from rushes.window import Verdict, Window


class Verifier(Protocol):
    """Decides which candidates of a window stay. `lossless`: the output is that of the target alone."""

    @property
    def lossless(self) -> bool: ...

    def verify(self, window: Window, logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Verdict:
        """Judge `window` by the target's (n + 1, V) logits; row 0 follows the last emitted token."""
        ...


@dataclass(frozen=True, slots=True)
class Lossless:
    """Exact under greedy decoding, speculative sampling otherwise. An empty window is plain decoding."""

    lossless: ClassVar[bool] = True

    def verify(self, window: Window, logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Verdict:
        if sampling.greedy:
            return verify_exact(window, logits)
        return verify_sampling(window, sampling.probabilities(logits), generator)
