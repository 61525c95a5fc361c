"""Every name parses into its parts, and a wrong one is answered with the nearest."""

from itertools import product

import pytest

from rushes import RushesError
from rushes.drafting.chain import Chain
from rushes.drafting.limits import MAX_GAMMA
from rushes.drafting.sage import AdaptiveTree
from rushes.drafting.tree import StaticTree
from rushes.methods import AUTO_GAMMA, DRAFTERS, METHODS, SCHEDULES, SCORERS, VERIFIERS, method, scorer
from rushes.pruning.controls import Full, Random
from rushes.pruning.specvlm import SpecVLM


@pytest.mark.parametrize("name", METHODS)
def test_every_name_parses(name: str) -> None:
    made = method(name)
    assert made.name == name
    assert made.recipe == METHODS[name][0]
    assert made.lossless == made.verifier.lossless
    assert (made.drafter is None) == (made.scorer is None) == (name == "ar")


def goes_together(scorer: str, drafter: str, verifier: str, schedule: str) -> bool:
    if not VERIFIERS[verifier]().lossless and drafter not in ("chain", "self"):
        return False
    if drafter == "self":
        return not SCHEDULES[schedule]().overlaps
    return not SCORERS[scorer]().per_layer


@pytest.mark.parametrize(
    "name",
    ["+".join(parts) for parts in product(SCORERS, DRAFTERS, VERIFIERS, SCHEDULES) if goes_together(*parts)],
)
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
        ("spec", "unknown method 'spec'; did you mean 'lvspec'"),
        ("", "unknown method ''; known: ar, sd, specvlm, parallelvlm, hippo, lvspec, rush, sage, std"),
        ("uniform", r"'uniform' is a scorer, not a method; spell out uniform\+chain\+exact\+sequential"),
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


@pytest.mark.parametrize("drafter", ["chain", "tree", "sage"])
def test_a_scorer_for_each_layer_needs_the_targets_own_layers(drafter: str) -> None:
    with pytest.raises(RushesError, match=f"only the drafter 'self' can use, not '{drafter}'"):
        method(f"std+{drafter}+exact+sequential")


def test_parameters_reach_their_part() -> None:
    assert method("specvlm:attention_share=0.4").scorer == SpecVLM(0.4)
    assert method("specvlm:attention_share=0.4:gamma=3").drafter == StaticTree(3)
    assert method("sage:nodes=7").drafter == AdaptiveTree(nodes=7)
    spelled = method("random:seed=3+chain:gamma=7+exact+sequential")
    assert (spelled.scorer, spelled.drafter) == (Random(3), Chain(7))
    assert scorer("specvlm:attention_share=0.25") == SpecVLM(0.25)


def test_auto_gives_the_drafter_room() -> None:
    made = method("specvlm", "auto")
    assert made.auto
    assert made.drafter == StaticTree(AUTO_GAMMA)
    assert not method("specvlm", 5).auto


@pytest.mark.parametrize(
    ("name", "gamma", "message"),
    [
        ("specvlm:atention_share=0.4", None, "unknown parameter of method 'specvlm' 'atention_share'; did you mean"),
        ("specvlm:attention_share", None, "'attention_share' is no parameter; write name:parameter=value"),
        ("specvlm:attention_share=x", None, "attention_share must be a number, got 'x'"),
        ("specvlm:attention_share=2", None, "attention_share must be between 0 and 1, got 2"),
        ("random:seed=1.5+chain+exact+sequential", None, "random:seed must be a whole number, got '1.5'"),
        ("full:seed=1+chain+exact+sequential", None, "scorer 'full' has no parameters, got seed=1"),
        ("uniform+chain:gama=1+exact+sequential", None, "unknown parameter of drafter 'chain' 'gama'; did you mean"),
        ("ar:keep=1", None, "method 'ar' has no parameters, got keep=1"),
        ("sd:gamma=3", 4, "gamma is given twice: 4 and in 'sd:gamma=3'"),
        ("sd:gamma=3:gamma=4", None, "gamma is given twice"),
        ("sd:gamma=20000", None, "gamma must be between 1 and 1024, got 20000"),
        ("sage:nodes=100000000", None, "nodes must be between 1 and 1024, got 100000000"),
        ("random:seed=99999999999999999999999+chain+exact+sequential", None, "seed must be between 0 and"),
        ("sd", "fast", "gamma must be a whole number or 'auto', got 'fast'"),
    ],
)
def test_a_wrong_parameter_is_refused(name: str, gamma: str | int | None, message: str) -> None:
    with pytest.raises(RushesError, match=message):
        method(name, gamma)
