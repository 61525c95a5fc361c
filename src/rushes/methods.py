"""The named recipes: each one line of parts."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rushes.drafting.chain import Chain
from rushes.drafting.drafter import Drafter
from rushes.drafting.limits import check_window
from rushes.drafting.own import SelfChain
from rushes.drafting.sage import AdaptiveTree
from rushes.drafting.tree import StaticTree
from rushes.errors import RushesError, unknown_name
from rushes.parts import make, parameters, split
from rushes.pruning.attention import Attention
from rushes.pruning.base import Scorer
from rushes.pruning.controls import Full, Nothing, Random, Uniform
from rushes.pruning.hippo import Hippo
from rushes.pruning.specvlm import SpecVLM
from rushes.pruning.std import LayerAttention
from rushes.pruning.uvprune import UVPrune
from rushes.scheduling.base import Schedule
from rushes.scheduling.overlapped import Adaptive, Pipelined
from rushes.scheduling.sequential import Sequential
from rushes.verification.base import Lossless, Verifier
from rushes.verification.control import RandomRelaxation
from rushes.verification.fly import Fly
from rushes.verification.lvspec import LVSpec

SCORERS: dict[str, Callable[[], Any]] = {
    "full": Full,
    "none": Nothing,
    "uniform": Uniform,
    "random": Random,
    "attention": Attention,
    "specvlm": SpecVLM,
    "hippo": Hippo,
    "uvprune": UVPrune,
    "std": LayerAttention,
}
DRAFTERS: dict[str, Callable[..., Any]] = {
    "chain": Chain,
    "tree": StaticTree,
    "sage": AdaptiveTree,
    "self": SelfChain,
}
VERIFIERS: dict[str, Callable[..., Any]] = {
    "exact": Lossless,
    "sampling": Lossless,
    "lvspec": LVSpec,
    "fly": Fly,
    "random": RandomRelaxation,
}
SCHEDULES: dict[str, Callable[..., Any]] = {
    "sequential": Sequential,
    "pipelined": Pipelined,
    "adaptive": Adaptive,
    "parallel": Adaptive,
}

METHODS: dict[str, tuple[str, str]] = {
    "ar": ("", "plain decoding: the target alone"),
    "sd": ("full+chain+exact+sequential", "speculative decoding; the draft sees the whole video"),
    "specvlm": ("specvlm+tree+exact+sequential", "SpecVLM: the draft sees what the target attends to; a draft tree"),
    "parallelvlm": ("uvprune+chain+exact+pipelined", "ParallelVLM: pruned by early layers; both models work at once"),
    "hippo": ("hippo+chain+exact+adaptive", "HIPPO: relevance, novelty and detail; overlapping by acceptance history"),
    "lvspec": ("uniform+chain:gamma=10+lvspec+sequential", "LVSpec: loose where a word does not depend on the video"),
    "rush": ("hippo+chain:gamma=10+lvspec+parallel", "HIPPO's tokens, LVSpec's verification, both models at once"),
    "sage": ("specvlm+sage+exact+sequential", "SAGE: SpecVLM's pruning, a tree that follows the draft's certainty"),
    "std": ("std+self+exact+sequential", "STD: the target drafts for itself, over a part of its own cache"),
}

CHAINS = ("chain", "self")  # drafters without branches
KINDS = {"scorer": SCORERS, "drafter": DRAFTERS, "verifier": VERIFIERS, "schedule": SCHEDULES}
AUTO_GAMMA = 32  # the widest window that "auto" tries; both caches hold the slots for it


@dataclass(frozen=True, slots=True)
class Method:
    """What decodes a request. Without a drafter: plain decoding.

    Attributes:
        name: As asked for.
        recipe: "scorer+drafter+verifier+schedule", or "" for plain decoding.
        auto: The window follows measured speeds and acceptance.
    """

    name: str
    recipe: str
    scorer: Scorer | None
    drafter: Drafter | None
    verifier: Verifier
    schedule: Schedule
    auto: bool = False

    @property
    def lossless(self) -> bool:
        return self.verifier.lossless

    @property
    def needs_draft(self) -> bool:
        """Is there a second model in it?"""
        return self.drafter is not None and not self.drafter.own


def scorer(name: str) -> Scorer:
    """A scorer by name, with parameters: "hippo:crop=2".

    Raises:
        RushesError: Unknown name or parameter, or a value that does not fit.
    """
    made: Scorer = make("scorer", split(name)[0], SCORERS, split(name)[1])
    return made


def method(name: str, gamma: int | str | None = None) -> Method:
    """Look up a named method, or spell one out as "scorer+drafter+verifier+schedule".

    Args:
        name: A key of `METHODS` or four parts joined by "+". Parameters follow behind colons: "hippo:crop=2" (each goes
            to the part of the method that has it), "hippo:crop=2+chain:gamma=7+exact+sequential".
        gamma: Tokens in a chain or levels of a tree; "auto" measures and adapts; None takes the drafter's default, and
            "auto" for schedules that overlap.

    Raises:
        RushesError: Unknown name, part or parameter, with the nearest known one; gamma out of range; parts that do not
            go together.
    """
    auto = gamma == "auto"
    if isinstance(gamma, str) and not auto:
        raise RushesError(f"gamma must be a whole number or 'auto', got {gamma!r}")
    if isinstance(gamma, int):
        check_window(gamma=gamma)
    recipe, parts = _spelled(name)
    if not recipe:
        return Method(name, "", None, None, Lossless(), Sequential())
    options: dict[str, Any] = {}
    if gamma is not None and "gamma" in parts[1][1]:
        raise RushesError(f"gamma is given twice: {gamma} and in {name!r}")
    if _overlaps(parts[3][0]):
        auto = auto or (gamma is None and "gamma" not in parts[1][1])  # what it overlaps with is what it measures
    if auto:
        options["gamma"] = AUTO_GAMMA
    elif gamma is not None:
        options["gamma"] = gamma
    scorer, drafter, verifier, schedule = (
        make(kind, part, known, given, **(options if kind == "drafter" else {}))
        for (kind, known), (part, given) in zip(KINDS.items(), parts, strict=True)
    )
    if scorer.per_layer and not drafter.own:
        raise RushesError(
            f"scorer {parts[0][0]!r} chooses for each layer of the target, which only the drafter 'self' can use, "
            f"not {parts[1][0]!r}"
        )
    if drafter.own and schedule.overlaps:
        raise RushesError(
            f"drafter {parts[1][0]!r} is the target itself, which cannot write and review at the same time; "
            "use the schedule sequential"
        )
    if not verifier.lossless and parts[1][0] not in CHAINS:
        raise RushesError(
            f"verifier {parts[2][0]!r} judges a chain, not the branches of {parts[1][0]!r}; use the drafter chain"
        )
    return Method(name, recipe, scorer, drafter, verifier, schedule, auto)


def _overlaps(schedule: str) -> bool:
    """Do draft and target work at the same time under a schedule? An unknown one is refused elsewhere."""
    known: Any = SCHEDULES.get(schedule, Sequential)
    return bool(known.overlaps)


Spelled = tuple[str, dict[str, str]]  # a part's name and its parameters as text


def _spelled(name: str) -> tuple[str, list[Spelled]]:
    """The recipe of a method and its four parts with their parameters."""
    if "+" in name:
        parts = [split(part) for part in name.split("+")]
        if len(parts) != len(KINDS):
            raise RushesError(
                f"method {name!r} has {len(parts)} parts; spell out four, scorer+drafter+verifier+schedule, "
                "such as uniform+chain+exact+sequential"
            )
        return name, parts
    short, given = split(name)
    if short in SCORERS and short not in METHODS:
        raise RushesError(f"{short!r} is a scorer, not a method; spell out {name}+chain+exact+sequential")
    if short not in METHODS:
        raise unknown_name("method", short, list(METHODS))
    recipe = METHODS[short][0]
    parts = [split(part) for part in recipe.split("+")] if recipe else []
    allowed = [parameters(known[part]) for known, (part, _) in zip(KINDS.values(), parts, strict=False)]
    for parameter, value in given.items():
        owner = next((i for i, names in enumerate(allowed) if parameter in names), None)
        if owner is None and not any(allowed):
            raise RushesError(f"method {short!r} has no parameters, got {parameter}={value}")
        if owner is None:
            known = [name for names in allowed for name in names]
            raise unknown_name(f"parameter of method {short!r}", parameter, known)
        parts[owner][1][parameter] = value
    return recipe, parts
