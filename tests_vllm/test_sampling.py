"""Sampled answers follow the target's own distribution, and candidates are accepted by p / q."""

from collections import Counter
from collections.abc import Iterator
from math import exp
from typing import Any

import pytest
import torch
from scenarios import ASKED
from serving import counted, drafting, engine, runner
from vllm import LLM, SamplingParams
from vllm.v1.sample import rejection_sampler

from rushes.integrations.vllm import handover

TEMPERATURE, TOP_K, LENGTH = 2.0, 3, 4
REQUEST = ASKED["video 2"]


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    # No chunks here: on CPUs vLLM 0.32 fails where a prompt with a seed is read in several.
    with engine(max_num_seqs=16, max_num_batched_tokens=8192, num_gpu_blocks_override=400, **drafting(3)) as made:
        yield made


def params(count: int, seed: int = 0) -> SamplingParams:
    return SamplingParams(temperature=TEMPERATURE, top_k=TOP_K, max_tokens=LENGTH, n=count, seed=seed, ignore_eos=True)


def exact(llm: LLM) -> dict[tuple[int, ...], float]:
    """The probability of every answer, from vLLM's own log probabilities of one more token behind each beginning."""
    ids = llm.generate([REQUEST], SamplingParams(temperature=0, max_tokens=1), use_tqdm=False)[0].prompt_token_ids
    pad = runner(llm).model_config.hf_config.video_token_id
    first = ids.index(pad)
    short = [*ids[:first], *ids[first + ids.count(pad) - 1 :]]  # vLLM puts the video's tokens in again
    found: dict[tuple[int, ...], float] = {(): 1.0}
    for _ in range(LENGTH):
        begun = list(found)
        asked: list[Any] = [
            {"prompt_token_ids": [*short, *line], "multi_modal_data": REQUEST["multi_modal_data"]} for line in begun
        ]
        ask = SamplingParams(temperature=0, max_tokens=1, logprobs=TOP_K)
        longer: dict[tuple[int, ...], float] = {}
        for line, one in zip(begun, llm.generate(asked, ask, use_tqdm=False), strict=True):
            best = sorted(one.outputs[0].logprobs[0].items(), key=lambda item: item[1].rank)[:TOP_K]
            weights = {token: exp(entry.logprob / TEMPERATURE) for token, entry in best}
            for token, weight in weights.items():
                longer[(*line, token)] = found[line] * weight / sum(weights.values())
        found = longer
    return found


def distance(seen: Counter, expected: dict[tuple[int, ...], float]) -> float:
    """Chi-square over the degrees of freedom; cells that few are expected in are put together."""
    total = sum(seen.values())
    assert set(seen) <= set(expected), "an answer that top_k excludes"
    cells = [(seen[line], total * p) for line, p in expected.items()]
    large = [(have, want) for have, want in cells if want >= 5]
    rest = [(have, want) for have, want in cells if want < 5]
    if rest:
        large.append((sum(have for have, _ in rest), sum(want for _, want in rest)))
    return sum((have - want) ** 2 / want for have, want in large if want > 0) / (len(large) - 1)


def drawn(llm: LLM, count: int) -> tuple[Counter, float]:
    """Answers, and the share of candidates that was accepted."""
    names = ("spec_decode_num_draft_tokens", "spec_decode_num_accepted_tokens")
    before = [counted(llm, name) for name in names]
    found = llm.generate([REQUEST], params(count), use_tqdm=False)[0].outputs
    drafted, accepted = (counted(llm, name) - old for name, old in zip(names, before, strict=True))
    assert drafted > 0
    return Counter(tuple(one.token_ids) for one in found), accepted / drafted


def test_answers_follow_the_exact_distribution(llm):
    seen, _ = drawn(llm, 1500)
    assert distance(seen, exact(llm)) < 2.0


def test_the_draft_hands_over_what_it_drew_from(llm, monkeypatch):
    with_q = drawn(llm, 300)[1]
    monkeypatch.setattr(handover.Share, "hand_over", lambda *args: None)
    without = drawn(llm, 300)[1]
    assert with_q > without  # min(1, p / q) against p


def test_a_wrong_distribution_is_noticed(llm, monkeypatch):
    """What was drawn from is said to be what was not: the test above must be able to fail."""
    stacked = handover.stacked

    def sharper(*args: Any) -> torch.Tensor:
        squared = stacked(*args).square()
        return squared / squared.sum(-1, keepdim=True).clamp_min(1e-9)

    monkeypatch.setattr(handover, "stacked", sharper)
    seen, _ = drawn(llm, 500)
    assert distance(seen, exact(llm)) > 3.0


def test_greedy_and_sampled_requests_together(llm, same):
    asked = [ASKED["video 0"], ASKED["video 1"], ASKED["video 2"]]
    how = [SamplingParams(temperature=t, max_tokens=100, seed=1) for t in (0, 1.0, 0)]
    found = llm.generate(asked, how, use_tqdm=False)
    same("video 0", list(found[0].outputs[0].token_ids))
    same("video 2", list(found[2].outputs[0].token_ids))


def test_a_step_without_candidates_may_set_top_k(llm):
    one = SamplingParams(temperature=1.0, top_k=2, max_tokens=1, seed=0)
    assert len(llm.generate([REQUEST], one, use_tqdm=False)[0].outputs[0].token_ids) == 1


def test_each_request_keeps_its_own_temperature():
    """What vLLM's own function says it does, and does not do on CPUs."""
    values, ends = torch.tensor([3.0, 0.0, 5.0]), torch.tensor([1, 3, 4], dtype=torch.int32)
    assert rejection_sampler.expand_batch_to_tokens(values, ends, 4, 0, 1).tolist() == [3.0, 1.0, 1.0, 5.0]
