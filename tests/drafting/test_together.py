"""Requests that draft together write what each would write alone."""

import pytest
import torch

from rushes.batched_cache import NoRoom
from rushes.drafting.chain import Chain
from rushes.drafting.state import DraftState
from rushes.drafting.together import RowState, draft_together
from rushes.models.base import Prompt, VideoLM
from rushes.models.registry import adapt
from rushes.sampling import RepetitionPenalty, Sampling
from tiny import tiny_qwen2_5_vl, tiny_text_inputs, tiny_video_inputs
from tiny_qwen3 import tiny_qwen3_vl

GREEDY = Sampling()
LIMIT = 5


@pytest.fixture(scope="module", params=[tiny_qwen2_5_vl, tiny_qwen3_vl], ids=["qwen2_5_vl", "qwen3_vl"])
def model(request: pytest.FixtureRequest) -> VideoLM:
    return adapt(request.param(), "draft")


def prompts(model: VideoLM) -> list[Prompt]:
    """A text, a video and the same video pruned: three lengths, one of them with gaps in its positions."""
    made = []
    for inputs in (tiny_text_inputs(model.model), tiny_video_inputs(model.model)):
        made.append(model.prompt(inputs, model.encode(inputs)))
    video = made[-1]
    return [*made, video.prune(torch.arange(0, len(video.video_columns), 3))]


def states(model, cache, sampling=GREEDY, penalty=1.0):
    """The same three requests in rows and in caches of their own."""
    rows, alone = [], []
    for prompt in prompts(model):
        seen = RepetitionPenalty(penalty, torch.arange(8, 12), model.vocabulary)
        rows.append(RowState(model, prompt, cache.add(len(prompt)), sampling, seen))
        alone.append(DraftState(model, prompt, len(prompt) + 64, sampling, seen))
    return rows, alone


@torch.inference_mode()
@pytest.mark.parametrize("rows_at_once", [None, 1, 2])
@pytest.mark.parametrize("penalty", [1.0, 1.5])
def test_rounds_with_rejections(model, rows_at_once, penalty):
    cache = model.new_rows()
    rows, _ = states(model, cache, penalty=penalty)
    lines = [[20], [21], [22]]
    for accepted in ((5, 0, 2), (0, 5, 5), (1, 2, 0), (5, 5, 5)):
        for row, line in zip(rows, lines, strict=True):
            row.follow(line)
        found = draft_together(cache, rows, [LIMIT] * 3, rows_at_once)
        alone = states(model, model.new_rows(), penalty=penalty)[1]  # anew, so that nothing can be left over
        for one, state, line in zip(found, alone, lines, strict=True):
            state.follow(line)
            assert one.tokens == Chain(LIMIT).draft(state, LIMIT).tokens
        lines = [
            [*line, *one.tokens[:count], 30 + count] for line, one, count in zip(lines, found, accepted, strict=True)
        ]


@torch.inference_mode()
def test_each_stops_at_its_own_limit_and_others_wait(model):
    cache = model.new_rows()
    rows, _ = states(model, cache)
    for row in rows:
        row.follow([20])
    full = [one.tokens for one in draft_together(cache, rows, [LIMIT] * 3)]
    for row in rows:
        row.follow([20])
    some = draft_together(cache, [rows[2], rows[0]], [2, 4])
    assert [one.tokens for one in some] == [full[2][:2], full[0][:4]]
    assert rows[1].pending == [20]


@torch.inference_mode()
def test_a_target_that_goes_on_as_guessed_behind_fewer_candidates(model):
    """The target was shown the first candidate only, and its own next token is the second one, which the row holds."""
    cache = model.new_rows()
    rows, _ = states(model, cache)
    rows[0].follow([20])
    first = draft_together(cache, rows[:1], [LIMIT])[0].tokens
    rows[0].follow([20, *first[:2]])
    assert draft_together(cache, rows[:1], [3])[0].tokens == first[2:]


@torch.inference_mode()
def test_a_request_that_comes_back_catches_up(model):
    cache = model.new_rows()
    rows, _ = states(model, cache)
    line = [20, 21, 22, 23, 24]
    rows[1].follow(line)
    expected = draft_together(cache, [rows[1]], [LIMIT])[0].tokens
    prompt = prompts(model)[1]
    cache.free(rows[1].cache)
    again = RowState(model, prompt, cache.add(len(prompt) + len(line)), GREEDY, rows[1].penalty)
    again.catch_up(line)
    assert again.cache.length == len(prompt) + len(line) - 1
    assert draft_together(cache, [again], [LIMIT])[0].tokens == expected


@torch.inference_mode()
def test_sampled_candidates_come_with_what_they_were_drawn_from(model):
    cache = model.new_rows()
    sampling = Sampling(temperature=1.0, top_k=5, seed=3)
    rows, alone = states(model, cache, sampling)
    for state in (*rows, *alone):
        state.follow([20])
    found = draft_together(cache, rows, [LIMIT] * 3)
    for one, state in zip(found, alone, strict=True):
        window = Chain(LIMIT).draft(state, LIMIT)
        assert one.tokens == window.tokens
        torch.testing.assert_close(torch.stack(one.distributions), window.q)
        assert all(float(q[token]) > 0 for q, token in zip(one.distributions, one.tokens, strict=True))


@torch.inference_mode()
def test_a_cache_that_cannot_grow_says_so(model):
    cache = model.new_rows()
    rows, _ = states(model, cache)
    cache.budget = cache.bytes
    rows[0].follow(list(range(20, 90)))
    with pytest.raises(NoRoom):
        draft_together(cache, rows[:1], [60])
