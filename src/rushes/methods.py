"""The named recipes: each one line of parts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rushes.drafting.chain import Chain
from rushes.drafting.tree import StaticTree
from rushes.errors import RushesError, unknown_name
from rushes.pruning.attention import Attention
from rushes.pruning.base import Scorer
from rushes.pruning.controls import Full, Nothing, Random, Uniform
from rushes.pruning.specvlm import SpecVLM
from rushes.scheduling.base import Drafter, Schedule
from rushes.scheduling.sequential import Sequential
from rushes.verification.base import Lossless, Verifier

SCORERS: dict[str, Callable[[], Any]] = {
    "full": Full,
    "none": Nothing,
    "uniform": Uniform,
    "random": Random,
    "attention": Attention,
    "specvlm": SpecVLM,
}
DRAFTERS: dict[str, Callable[..., Any]] = {"chain": Chain, "tree": StaticTree}
VERIFIERS: dict[str, Callable[[], Any]] = {"exact": Lossless, "sampling": Lossless}
SCHEDULES: dict[str, Callable[[], Any]] = {"sequential": Sequential}

METHODS: dict[str, tuple[str, str]] = {
    "ar": ("", "plain decoding: the target alone"),
    "sd": ("full+chain+exact+sequential", "speculative decoding; the draft sees the whole video"),
    "specvlm": ("specvlm+tree+exact+sequential", "SpecVLM: the draft sees what the target attends to; a draft tree"),
}


MAX_GAMMA = 1024  # no draft is right that often; a tree's mask grows with the square


@dataclass(frozen=True, slots=True)
class Method:
    """What decodes a request. Without a drafter: plain decoding.

    Attributes:
        name: As asked for.
        recipe: "scorer+drafter+verifier+schedule", or "" for plain decoding.
    """

    name: str
    recipe: str
    scorer: Scorer | None
    drafter: Drafter | None
    verifier: Verifier
    schedule: Schedule

    @property
    def lossless(self) -> bool:
        return self.verifier.lossless


def method(name: str, gamma: int | None = None) -> Method:
    """Look up a named method, or spell one out as "scorer+drafter+verifier+schedule".

    Args:
        name: A key of `METHODS` or four parts joined by "+".
        gamma: Tokens in a chain or levels of a tree; None takes the drafter's default.

    Raises:
        RushesError: Unknown name or part, with the nearest known one; gamma out of range.
    """
    if gamma is not None and not 1 <= gamma <= MAX_GAMMA:
        raise RushesError(f"gamma must be between 1 and {MAX_GAMMA}, got {gamma}")
    if name in METHODS:
        recipe = METHODS[name][0]
    elif "+" in name:
        recipe = name
    else:
        raise unknown_name("method", name, list(METHODS))
    if not recipe:
        return Method(name, "", None, None, Lossless(), Sequential())
    parts = recipe.split("+")
    kinds = (("scorer", SCORERS), ("drafter", DRAFTERS), ("verifier", VERIFIERS), ("schedule", SCHEDULES))
    if len(parts) != len(kinds):
        raise RushesError(
            f"method {name!r} has {len(parts)} parts; spell out four, scorer+drafter+verifier+schedule, "
            "such as uniform+chain+exact+sequential"
        )
    for part, (kind, known) in zip(parts, kinds, strict=True):
        if part not in known:
            raise unknown_name(kind, part, list(known))
    scorer, drafter, verifier, schedule = parts
    options = {} if gamma is None else {"gamma": gamma}
    return Method(
        name,
        recipe,
        SCORERS[scorer](),
        DRAFTERS[drafter](**options),
        VERIFIERS[verifier](),
        SCHEDULES[schedule](),
    )
