"""A forward over the rows of many requests gives each what a forward of its own gives it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rushes.batched_cache import BLOCK
from rushes.errors import RushesError
from rushes.models.base import Prompt, VideoLM
from rushes.models.registry import adapt
from rushes.window import behind
from tiny import FIRST_TEXT_TOKEN, tiny_qwen2_5_vl, tiny_qwen2_vl
from tiny_llava import tiny_llava_onevision
from tiny_qwen3 import tiny_qwen3_vl

MAKERS = {
    "qwen2_5_vl": tiny_qwen2_5_vl,
    "qwen2_vl": tiny_qwen2_vl,
    "qwen3_vl": tiny_qwen3_vl,
    "llava_onevision": tiny_llava_onevision,
}


@pytest.fixture(scope="module")
def models() -> dict[str, VideoLM]:
    return {family: adapt(make(), family) for family, make in MAKERS.items()}


def text(model: VideoLM, length: int, seed: int) -> tuple[list[int], Prompt]:
    """Text tokens and their prompt, whose positions begin somewhere and leave gaps, as behind a video."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(FIRST_TEXT_TOKEN, model.vocabulary, (length,), generator=generator).tolist()
    rows = 1 if "llava" in model.config.model_type else 3
    positions = (torch.randint(1, 4, (length,), generator=generator).cumsum(0)).expand(rows, -1)
    none = torch.zeros(0, dtype=torch.long)
    return ids, Prompt(model.embed(ids), positions, none, int(positions.max()) + 1)


def positions_of(prompt: Prompt, first: int, count: int) -> torch.Tensor:
    return (torch.arange(count) + prompt.next_position + first).expand(prompt.positions.shape[0], -1)


@pytest.mark.parametrize("family", MAKERS)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_rows_equal_requests_of_their_own(models, family, data):
    model = models[family]
    lengths = data.draw(st.lists(st.integers(1, 2 * BLOCK), min_size=1, max_size=4))
    cache = model.new_rows()
    alone, rows, prompts = [], [], []
    for number, length in enumerate(lengths):
        prompt = text(model, length, number)[1]
        row, own = cache.add(length), model.new_cache(4 * BLOCK)
        torch.testing.assert_close(model.prefill(prompt, row), model.prefill(prompt, own))
        rows, alone, prompts = [*rows, row], [*alone, own], [*prompts, prompt]
    for step in range(3):
        counts = [data.draw(st.integers(0, 4)) for _ in rows]
        widest = max(1, *counts)
        tokens = [text(model, widest, 100 * step + i)[0] for i in range(len(rows))]
        before = [row.length for row in rows]
        at = [positions_of(p, own.length - len(p), widest) for p, own in zip(prompts, alone, strict=True)]
        cache.reserve(max(before) + widest)
        embeds = torch.stack([model.embed(ids) for ids in tokens])
        out = model.forward_rows(embeds, torch.stack(at, dim=1), cache, counts)
        for i, (own, count) in enumerate(zip(alone, counts, strict=True)):
            assert rows[i].length == before[i] + count
            if count:
                mask = behind(own.length, torch.ones(count, count, dtype=torch.bool).tril())
                expected = model.forward(model.embed(tokens[i][:count]), at[i][:, :count], own, mask)
                torch.testing.assert_close(out[i, :count], expected, rtol=1e-4, atol=1e-5)
                assert torch.equal(model.logits(out[i, :count]).argmax(-1), model.logits(expected).argmax(-1))
            back = data.draw(st.integers(0, count))  # rejected tokens
            rows[i].roll_back(rows[i].length - back)
            own.roll_back(own.length - back)


def test_a_part_of_the_rows_goes_on_while_the_others_wait(models):
    model = models["qwen2_5_vl"]
    cache = model.new_rows()
    prompts = [text(model, length, length)[1] for length in (5, 9, 7)]
    rows = [cache.add(20) for _ in prompts]
    for prompt, row in zip(prompts, rows, strict=True):
        model.prefill(prompt, row)
    own = model.new_cache(20)
    model.prefill(prompts[1], own)
    at = positions_of(prompts[1], 0, 1)
    expected = model.forward(model.embed([11]), at, own)
    out = model.forward_rows(model.embed([11])[None], at[:, None], cache, [1], first=1)
    torch.testing.assert_close(out[0], expected, rtol=1e-4, atol=1e-5)
    assert [row.length for row in rows] == [5, 10, 7]


def test_freeing_a_row_moves_the_last_one_and_the_last_row_gives_the_memory_back(models):
    model = models["qwen2_5_vl"]
    cache = model.new_rows()
    prompts = [text(model, length, length)[1] for length in (5, 9, 7)]
    first, second, third = (cache.add(16) for _ in prompts)
    for prompt, row in zip(prompts, (first, second, third), strict=True):
        model.prefill(prompt, row)
    cache.free(first)
    assert cache.rows == [third, second]
    assert third.index == 0
    own = model.new_cache(16)
    model.prefill(prompts[2], own)
    at = positions_of(prompts[2], 0, 1)
    expected = model.forward(model.embed([11]), at, own)
    both = torch.stack([at, positions_of(prompts[1], 0, 1)], dim=1)
    out = model.forward_rows(model.embed([11, 12])[:, None], both, cache, [1, 1])
    torch.testing.assert_close(out[0], expected, rtol=1e-4, atol=1e-5)
    assert cache.bytes > 0
    cache.free(second)
    cache.free(third)
    assert cache.bytes == 0


def test_growing_keeps_what_rows_hold(models):
    model = models["qwen2_5_vl"]
    cache = model.new_rows()
    prompt = text(model, 9, 1)[1]
    row = cache.add(9)
    model.prefill(prompt, row)
    before = row.update(torch.zeros(1, 2, 1, 16), torch.zeros(1, 2, 1, 16), 0)[0][:, :, :9].clone()
    cache.reserve(3 * BLOCK)
    cache.add(9)
    assert row.capacity == 3 * BLOCK
    after = row.update(torch.zeros(1, 2, 1, 16), torch.zeros(1, 2, 1, 16), 0)[0][:, :, :9]
    assert torch.equal(before, after)


def test_the_budget_is_never_exceeded_and_the_refusal_changes_nothing(models):
    model = models["qwen2_5_vl"]
    one = model.new_rows().bytes_for(1, BLOCK)
    cache = model.new_rows(budget=2 * one)
    cache.add(BLOCK)
    cache.add(BLOCK)
    assert cache.bytes == 2 * one
    with pytest.raises(RushesError, match="no memory for the draft: 3 rows of 64 slots"):
        cache.add(1)
    with pytest.raises(RushesError, match="2 rows of 128 slots"):
        cache.reserve(BLOCK + 1)
    assert len(cache.rows) == 2
    assert cache.bytes == 2 * one
