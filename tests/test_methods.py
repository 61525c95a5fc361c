"""Every name parses into its parts, and a wrong one is answered with the nearest."""

from itertools import product

import pytest

from rushes import RushesError
from rushes.drafting.chain import Chain
from rushes.drafting.tree import StaticTree
from rushes.methods import DRAFTERS, MAX_GAMMA, METHODS, SCHEDULES, SCORERS, VERIFIERS, method
from rushes.pruning.controls import Full
from rushes.pruning.specvlm import SpecVLM


@pytest.mark.parametrize("name", METHODS)
def test_every_name_parses(name: str) -> None:
    made = method(name)
    assert made.name == name
    assert made.recipe == METHODS[name][0]
    assert made.lossless == made.verifier.lossless
    assert (made.drafter is None) == (made.scorer is None) == (name == "ar")


@pytest.mark.parametrize("name", map("+".join, product(SCORERS, DRAFTERS, VERIFIERS, SCHEDULES)))
def test_every_combination_can_be_spelled_out(name: str) -> None:
    scorer, drafter, verifier, schedule = name.split("+")
    made = method(name)
    assert made.name == made.recipe == name
    assert type(made.scorer) is SCORERS[scorer]
    assert type(made.drafter) is DRAFTERS[drafter]
    assert type(made.verifier) is VERIFIERS[verifier]
    assert type(made.schedule) is SCHEDULES[schedule]


def test_the_recipes_are_the_papers() -> None:
    assert method("specvlm").scorer == SpecVLM(attention_share=0.5)
    assert method("specvlm").drafter == StaticTree(5)
    assert method("sd").scorer == Full()
    assert method("sd").drafter == Chain(5)


@pytest.mark.parametrize("gamma", [1, 3, 8])
def test_gamma_reaches_the_drafter(gamma: int) -> None:
    assert method("sd", gamma).drafter == Chain(gamma)
    assert method("specvlm", gamma).drafter == StaticTree(gamma)
    assert method("ar", gamma).drafter is None


@pytest.mark.parametrize("name", ["ar", "sd", "specvlm"])
@pytest.mark.parametrize("gamma", [-1, 0, MAX_GAMMA + 1])
def test_a_gamma_out_of_range_is_refused(gamma: int, name: str) -> None:
    with pytest.raises(RushesError, match=f"gamma must be between 1 and {MAX_GAMMA}, got {gamma}"):
        method(name, gamma)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("specvml", "unknown method 'specvml'; did you mean 'specvlm'"),
        ("spec", "unknown method 'spec'; did you mean 'specvlm'"),
        ("", "unknown method ''; known: ar, sd, specvlm"),
        ("full+chain+exact", r"has 3 parts; spell out four, scorer\+drafter\+verifier\+schedule"),
        ("full+chain+exact+sequential+", "has 5 parts"),
        ("ful+chain+exact+sequential", "unknown scorer 'ful'; did you mean 'full'"),
        ("full+chains+exact+sequential", "unknown drafter 'chains'; did you mean 'chain'"),
        ("full+tree+exakt+sequential", "unknown verifier 'exakt'; did you mean 'exact'"),
        ("full+tree+exact+sequentail", "unknown schedule 'sequentail'; did you mean 'sequential'"),
        ("zzz+tree+exact+sequential", "unknown scorer 'zzz'; known: full, none"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(RushesError, match=message):
        method(name)
