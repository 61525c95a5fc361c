"""How often the draft is right, by keep ratio: known of some pairs, assumed of others, or as the user says."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rushes.bench.planning.acceptance import Trace, chance_of_chain, geometric
from rushes.bench.planning.trace_file import read
from rushes.errors import RushesError

GAMMA = 5  # of the chains whose taus stand here
# Held-out videos of the bundled pair, scorer uniform (README, "Every scorer beside its controls"); 0 is a blind draft.
DEMO_TAUS = {0.0: 2.96, 0.05: 3.46, 0.1: 3.46, 0.2: 3.51, 0.5: 3.52, 1.0: 3.49}
# SpecVLM's chains on LLaVA-OneVision 72B/7B (`methods.md` section 2), the only published ones at two keep ratios.
PUBLISHED_TAUS = {0.1: 2.79, 1.0: 3.12}


@dataclass(frozen=True)
class Outlook:
    """The chance that a draft's token is right when all before it were, at known keep ratios.

    Attributes:
        about: Where it comes from, in words.
        chances: By keep ratio; in between along straight lines, outside as at the nearest one.
        trace: Stands for all of them if there is one.
    """

    about: str
    chances: Mapping[float, float]
    trace: Trace | None = None

    def chance(self, keep: float) -> float:
        if self.trace is not None:
            return self.trace.share
        known = sorted(self.chances)
        below = max((k for k in known if k <= keep), default=known[0])
        above = min((k for k in known if k >= keep), default=known[-1])
        if above == below:
            return self.chances[below]
        weight = (keep - below) / (above - below)
        return (1 - weight) * self.chances[below] + weight * self.chances[above]

    def traces(self, keep: float) -> Trace:
        return self.trace if self.trace is not None else _drawn(round(self.chance(keep), 6))


@cache
def _drawn(chance: float) -> Trace:
    return geometric(chance)


def of_demo() -> Outlook:
    """What the bundled pair's chains came to."""
    return Outlook("the bundled pair's own, on held-out videos", _chances(DEMO_TAUS))


def assumed() -> Outlook:
    """What stands in for a pair of which nothing is known."""
    return Outlook(
        "ASSUMED, from SpecVLM's LLaVA-OneVision 72B/7B; give --acceptance or --trace", _chances(PUBLISHED_TAUS)
    )


def _chances(taus: Mapping[float, float]) -> dict[float, float]:
    return {keep: chance_of_chain(tau, GAMMA) for keep, tau in taus.items()}


def given(acceptance: str | None, trace: Path | None) -> Outlook | None:
    """What the user said.

    Args:
        acceptance: A chance for all keep ratios, "0.85", or one for each, "0.1=0.80,1=0.85".

    Raises:
        RushesError: Both were given; not a chance or a keep ratio; a trace that cannot be used.
    """
    if acceptance is not None and trace is not None:
        raise RushesError("--acceptance and --trace exclude each other; give one")
    if trace is not None:
        return Outlook(f"from {trace}, taken for every keep ratio", {}, read(trace))
    if acceptance is None:
        return None
    if "=" not in acceptance:
        return Outlook("as given, taken for every keep ratio", {1.0: _chance("acceptance", acceptance)})
    chances = {}
    for part in acceptance.split(","):
        keep, _, chance = part.partition("=")
        chances[_chance("keep", keep)] = _chance("acceptance", chance)
    return Outlook("as given", chances)


def keeps_of(text: str) -> tuple[float, ...]:
    """Keep ratios, separated by commas.

    Raises:
        RushesError: None, or not between 0 and 1.
    """
    keeps = tuple(dict.fromkeys(_chance("keep", part) for part in text.split(",") if part.strip()))
    if not keeps:
        raise RushesError("no keep ratios given; --keep 0.1,0.5 tries two")
    return keeps


def _chance(what: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise RushesError(f"{what} must be between 0 and 1, got {text.strip()!r}")
    return value
