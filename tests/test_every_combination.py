"""For every family x scorer x drafter: greedy answers equal transformers' own generate, on models of any size.

What ran is noted for the table of support.
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from families import FAMILIES
from ran import note
from rushes import Pair
from rushes.methods import DRAFTERS, SCORERS
from tiny import noisy

pytestmark = pytest.mark.xdist_group("support")  # one process notes what ran
LENGTH = 10


def together(drafter: str) -> Iterator[str]:
    """The scorers that a drafter can use."""
    own = DRAFTERS[drafter].own
    return (name for name, scorer in SCORERS.items() if own or not scorer().per_layer)


@st.composite
def sizes(draw: st.DrawFn) -> dict[str, int]:
    heads, kv_heads = draw(st.sampled_from([(4, 4), (4, 2), (4, 1), (8, 2)]))
    return {
        "hidden": heads * 16,
        "heads": heads,
        "kv_heads": kv_heads,
        "intermediate": draw(st.sampled_from([48, 128])),
        "layers": draw(st.integers(1, 4)),
        "vocab": draw(st.sampled_from([64, 96, 101])),
    }


@pytest.mark.parametrize("drafter", DRAFTERS)
@pytest.mark.parametrize("family", FAMILIES)
@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # an example takes a second: show it as found
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    sizes=sizes(),
    seed=st.integers(0, 99),
    frames=st.integers(1, 5),
    videos=st.integers(0, 2),
    image=st.booleans(),
    before=st.integers(1, 6),
    after=st.integers(1, 9),
    gamma=st.sampled_from([1, 2, 3, 5, 8, "auto", None]),
    keep=st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0]),
    noise=st.sampled_from([0.0, 0.05, 0.3]),
    repacked=st.booleans(),
)
def test_every_combination_equals_generate(
    family: str,
    drafter: str,
    sizes: dict[str, int],
    seed: int,
    frames: int,
    videos: int,
    image: bool,
    before: int,
    after: int,
    gamma: Any,
    keep: float,
    noise: float,
    repacked: bool,
) -> None:
    reference = FAMILIES[family].make(seed, **sizes)
    inputs = FAMILIES[family].inputs(
        reference, seed=seed, frames=frames, videos=videos, image=image, text_before=before, text_after=after
    )
    made = reference.generate(**inputs, do_sample=False, max_new_tokens=LENGTH)
    wanted = made[0, inputs["input_ids"].shape[1] :].tolist()
    target = deepcopy(reference)
    pair = Pair(target, None if DRAFTERS[drafter].own else noisy(target, noise))
    for scorer in together(drafter):
        result = pair.generate_inputs(
            inputs,
            method=f"{scorer}+{drafter}+exact+sequential",
            gamma=gamma,
            keep=keep if keep * frames >= 1 else round(keep),  # every frame has four tokens or more
            draft_positions="repacked" if repacked and not DRAFTERS[drafter].own else "original",
            max_new_tokens=LENGTH,
        )
        assert result.token_ids == wanted, scorer
        note(family, scorers=scorer, drafters=drafter)
