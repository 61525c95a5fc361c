"""The models' original positions, vectorised, equal the rule written out token by token."""

from copy import deepcopy
from functools import cache
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rushes import Pair, RushesError
from rushes.models.mrope import Block, blocks_of, reference_positions
from rushes.models.registry import adapt
from tiny import IMAGE, MERGE, VIDEO, tiny_mixed_inputs, tiny_qwen2_5_vl, tiny_qwen2_vl, tiny_text_inputs
from tiny_qwen3 import tiny_qwen3_vl

FAMILIES = {"qwen2_5_vl": tiny_qwen2_5_vl, "qwen2_vl": tiny_qwen2_vl}
LONG = [5, (30, 4, 4), 4]  # a video that lasts longer than it is high and wide


@cache
def model(family: str) -> Any:
    return FAMILIES[family]()


def written_out(config: Any, inputs: dict[str, Any]) -> Tensor:
    """(3, S): walk along the prompt; what follows anything starts one behind the largest position so far."""
    ids = inputs["input_ids"][0].tolist()
    grids = {
        IMAGE: inputs.get("image_grid_thw", torch.empty(0, 3)).tolist(),
        VIDEO: inputs.get("video_grid_thw", torch.empty(0, 3)).tolist(),
    }
    seconds = inputs.get("second_per_grid_ts")
    found: list[tuple[int, int, int]] = []
    videos = 0
    while len(found) < len(ids):
        largest = max((max(place) for place in found), default=-1)
        token = ids[len(found)]
        if token not in grids:
            found.append((largest + 1,) * 3)
            continue
        step = 1.0
        if token == VIDEO:
            if seconds is not None:
                step = float(seconds[videos]) * config.vision_config.tokens_per_second
            videos += 1
        frames, rows, columns = grids[token].pop(0)
        for t, y, x in product(range(frames), range(rows // MERGE), range(columns // MERGE)):
            found.append((largest + 1 + int(t * step), largest + 1 + y, largest + 1 + x))
    return torch.tensor(found).T


even = st.integers(1, 5).map(lambda n: 2 * n)
parts = st.one_of(
    st.tuples(st.integers(1, 40), even, even),
    st.tuples(even, even),
    st.integers(1, 9),
)
# Seconds for which no rounding decides: every product is exact in fp32.
rates = st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0, 8.0])


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=150, deadline=None, derandomize=True)
@given(parts=st.lists(parts, min_size=1, max_size=7), fps=st.lists(rates, max_size=4))
def test_the_original_rule(family: str, parts: list[Any], fps: list[float]) -> None:
    reference = model(family)
    inputs = tiny_mixed_inputs(reference, [1, *parts], fps=fps)
    adapter = adapt(reference, "x")
    ids = inputs["input_ids"][0]
    ours = adapter._positions(ids, adapter._kinds(ids), inputs, "reference")
    assert torch.equal(ours, written_out(reference.config, inputs))


def test_rounding_happens_behind_the_multiplication_in_fp32() -> None:
    """0.7 s at 2 positions a second: steps of 1.4, as vLLM computes them."""
    made = reference_positions(7, [Block(0, (6, 1, 1), 0.7, 2.0)])
    assert made[0].tolist() == [0, 1, 2, 4, 5, 7, 8]
    exact = (torch.arange(6) * torch.tensor(0.7) * 2).long()
    assert torch.equal(made[0, :6], exact)


@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_stock_positions_are_those_of_get_rope_index_and_reference_ones_go_on_behind_everything(family: str) -> None:
    adapter = adapt(deepcopy(model(family)), "x")
    for shape in (LONG, [3, (2, 8, 4), 2, (4, 4), 6], [2, (4, 6), 2, (9, 4, 4), 1, (3, 4, 6)]):
        inputs = tiny_mixed_inputs(model(family), shape)
        features = adapter.encode(inputs)
        stock, reference = (adapter.prompt(inputs, features, rule) for rule in ("stock", "reference"))
        names = ("input_ids", "mm_token_type_ids", "image_grid_thw", "video_grid_thw", "second_per_grid_ts")
        if family == "qwen2_vl":
            names = names[:-1]
        wanted, _ = model(family).model.get_rope_index(**{name: inputs.get(name) for name in names})
        assert torch.equal(stock.positions, wanted[:, 0])
        assert torch.equal(reference.positions, written_out(model(family).config, inputs))
        assert reference.next_position == int(reference.positions.max()) + 1
        assert torch.equal(stock.embeds, reference.embeds)


class Numbered:
    """A model whose `generate` numbers prompts by the original rule."""

    def __init__(self, source: Any) -> None:
        self.model = deepcopy(source)

        def get_rope_index(input_ids: Tensor, **inputs: Any) -> tuple[Tensor, Tensor]:
            at = written_out(self.model.config, {"input_ids": input_ids, **inputs})
            return at[:, None], (at.max() + 1 - input_ids.shape[1])[None, None]

        self.model.model.get_rope_index = get_rope_index

    def answer(self, inputs: dict[str, Any], length: int) -> list[int]:
        made = self.model.generate(**inputs, do_sample=False, max_new_tokens=length)
        return made[0, inputs["input_ids"].shape[1] :].tolist()


@pytest.mark.parametrize("method", ["ar", "sd", "specvlm"])
@pytest.mark.parametrize("family", FAMILIES)
def test_answers_by_the_original_rule(family: str, method: str) -> None:
    numbered = Numbered(model(family))
    pair = Pair(deepcopy(model(family)), deepcopy(model(family)))
    changed = 0
    for seed, shape in enumerate((LONG, [2, (20, 4, 4), 2, (12, 4, 4), 3], [4, (4, 4), (16, 4, 6), 5])):
        inputs = tiny_mixed_inputs(model(family), shape, seed=seed)
        wanted = numbered.answer(inputs, 20)
        made = pair.generate_inputs(
            inputs, method=method, keep=0.5, max_new_tokens=20, positions="reference", check=True
        )
        assert made.token_ids == wanted
        assert made.notes == ()
        assert made.check is not None
        assert made.check.identical  # compared with plain decoding by the same rule
        stock = pair.generate_inputs(inputs, method=method, keep=0.5, max_new_tokens=20)
        changed += stock.token_ids != wanted
        if method == "sd":  # the draft is numbered alike: as good as the target
            assert made.metrics["speculative_decoding"]["draft_acceptance_rate"] == 1
    assert changed, "the rules made no difference: nothing was tested"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gap_of_a_check_follows_the_rule(family: str) -> None:
    pair = Pair(deepcopy(model(family)))
    inputs = tiny_mixed_inputs(model(family), LONG)
    for rule in ("stock", "reference"):
        plain = pair.generate_inputs(inputs, method="ar", max_new_tokens=6, positions=rule).token_ids
        for at in range(6):
            other = [*plain[:at], (plain[at] + 1) % 96]
            check = pair.compare(inputs, plain, other, positions=rule)
            assert check.first_divergence == at
            assert check.logit_gap is not None
            assert check.logit_gap > 0  # plain decoding took the best token, by this rule


@pytest.mark.parametrize("family", FAMILIES)
def test_a_note_where_the_rules_differ(family: str) -> None:
    pair = Pair(deepcopy(model(family)))
    for _ in range(2):  # it belongs to each answer
        note, *others = pair.generate_inputs(tiny_mixed_inputs(pair.target, LONG), method="ar", max_new_tokens=1).notes
        assert 'positions="reference"' in note
        assert "\n" not in note
        assert not others
    short = tiny_mixed_inputs(pair.target, [5, (2, 8, 8), (4, 4), 4])
    for inputs in (short, tiny_text_inputs(model(family))):
        assert pair.generate_inputs(inputs, method="ar", max_new_tokens=1).notes == ()


def test_a_family_with_one_rule_takes_both_words_for_it() -> None:
    pair = Pair(tiny_qwen3_vl())
    inputs = tiny_mixed_inputs(pair.target, LONG)
    stock, reference = (
        pair.generate_inputs(inputs, method="ar", max_new_tokens=12, positions=rule) for rule in ("stock", "reference")
    )
    assert stock.token_ids == reference.token_ids
    assert stock.notes == reference.notes == ()


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(RushesError, match="positions must be 'stock' or 'reference', got 'original'"):
        Pair(tiny_qwen2_5_vl()).generate_inputs({}, method="ar", positions="original")


@pytest.mark.parametrize(
    ("columns", "message"),
    [([2, 3, 5, 6], "4 tokens in one run"), ([2, 3, 4], "4 tokens in one run"), ([2, 3, 4, 5, 6], "1 vision tokens")],
)
def test_tokens_that_are_not_their_grids_are_refused(columns: list[int], message: str) -> None:
    with pytest.raises(RushesError, match=message):
        blocks_of(torch.tensor(columns), [(1, 2, 2)], (), 1.0)
