"""From logits to tokens: greedy or by temperature, top-k and top-p, with a generator of one's own."""

from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from rushes.errors import RushesError

LEAST_TEMPERATURE = 1e-5  # below it logits / temperature leave fp32
LEAST_PENALTY = 1e-6  # and its inverse the most: beyond, logits leave what fp32 can hold


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen. Temperature 0 is greedy, and then top-k and top-p change nothing.

    Args:
        temperature: 0, or at least `LEAST_TEMPERATURE`.
        top_p: Keep the smallest set of tokens whose probability reaches this; in (0, 1].
        top_k: Keep this many tokens; 0 keeps all.
        repetition_penalty: Divides positive and multiplies negative logits of tokens that are already in the prompt
            or the answer, as transformers does; 1 does nothing. Qwen2.5-VL's checkpoints ask for 1.05.
        seed: Of the generator; None takes a random one.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        if not (self.temperature == 0 or LEAST_TEMPERATURE <= self.temperature < float("inf")):
            raise RushesError(
                f"temperature must be 0 (greedy) or {LEAST_TEMPERATURE:g} or more, got {self.temperature}"
            )
        if not 0 < self.top_p <= 1:
            raise RushesError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        if self.top_k < 0:
            raise RushesError(f"top_k must be 0 (off) or more, got {self.top_k}")
        if not LEAST_PENALTY <= self.repetition_penalty <= 1 / LEAST_PENALTY:
            raise RushesError(
                f"repetition_penalty must be between {LEAST_PENALTY:g} and {1 / LEAST_PENALTY:g}, "
                f"got {self.repetition_penalty}"
            )
        if self.seed is not None and not 0 <= self.seed < 2**63:
            raise RushesError(f"seed must be between 0 and {2**63 - 1}, got {self.seed}")

    @property
    def greedy(self) -> bool:
        return self.temperature == 0

    def generator(self, device: torch.device, stream: int = 0) -> torch.Generator:
        """A fresh generator for one request.

        Args:
            device: Where it draws.
            stream: One seed makes many streams. Target and draft must not share one: acceptance may not depend on the
                numbers that the candidates were drawn with.
        """
        generator = torch.Generator(device=device)
        if self.seed is None:
            generator.seed()
        else:
            generator.manual_seed(self.seed ^ (stream * 0x9E3779B9))  # torch's CPU generator reads the low 32 bits only
        return generator

    def probabilities(self, logits: Tensor) -> Tensor:
        """(n, V) logits -> (n, V) fp32 distribution, warped in transformers' order: temperature, top-k, top-p."""
        scores = logits.float() / self.temperature
        if 0 < self.top_k < scores.shape[-1]:
            least = scores.topk(self.top_k, dim=-1).values[..., -1:]
            scores = scores.masked_fill(scores < least, float("-inf"))
        if self.top_p < 1:
            ascending, order = scores.sort(dim=-1)
            below = ascending.softmax(-1).cumsum(-1) <= 1 - self.top_p
            below[..., -1] = False  # the best token always stays
            scores = scores.masked_fill(below.scatter(-1, order, below), float("-inf"))
        return scores.softmax(-1)


def draw(probabilities: Tensor, generator: torch.Generator) -> int:
    """One token from a (V,) distribution, which need not be normalised."""
    return int(torch.multinomial(probabilities, 1, generator=generator))


class RepetitionPenalty:
    """The penalty for logits rows whose histories share a prefix and differ in a drafted path.

    Args:
        penalty: As `Sampling.repetition_penalty`.
        seen: (V,) bool, the tokens of prompt and answer so far; `add` extends it.
    """

    def __init__(self, penalty: float, prompt: Tensor, vocabulary: int) -> None:
        self.penalty = penalty
        self.seen = torch.zeros(vocabulary, dtype=torch.bool, device=prompt.device)
        self.seen[prompt[prompt < vocabulary]] = True

    def add(self, tokens: list[int]) -> None:
        self.seen[torch.tensor(tokens, device=self.seen.device)] = True

    def after(self, tokens: list[int]) -> "RepetitionPenalty":
        """The penalty behind more tokens; this one stays as it is, so that two threads may look at it."""
        if self.penalty == 1 or not tokens:
            return self
        later = copy(self)
        later.seen = self.seen.clone()
        later.add(tokens)
        return later

    def __call__(self, logits: Tensor, paths: list[list[int]]) -> Tensor:
        """(n, V) logits -> penalised; `paths[i]` are the drafted tokens that row i has behind the common history."""
        if self.penalty == 1:
            return logits
        seen = self.seen.to(logits.device).expand(len(paths), -1).clone()
        for row, path in enumerate(paths):
            if path:
                seen[row, path] = True
        scores = logits.float()
        return torch.where(seen, torch.where(scores < 0, scores * self.penalty, scores / self.penalty), scores)
