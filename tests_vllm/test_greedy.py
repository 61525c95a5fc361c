"""Greedy answers of an engine that drafts are those of vLLM without speculation, whatever happens to the request."""

from collections.abc import Iterator

import numpy as np
import pytest
from scenarios import ASKED, FOUR
from serving import ASK, answers, counted, drafting, engine, greedy, runner
from vllm import LLM, SamplingParams

from rushes.bench.vllm_throughput import clip
from rushes.demo import bundled
from rushes.integrations.vllm import metrics
from rushes.prompting import build_inputs
from rushes.pruning.controls import Uniform
from rushes.video import Video


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with engine(**drafting()) as made:
        yield made


def settle(llm: LLM) -> None:
    """vLLM tells its runner of finished requests with the next step."""
    answers(llm, [ASKED["text"]], tokens=1)
    llm.llm_engine.engine_core.engine_core.step()


@pytest.mark.parametrize("name", ASKED)
def test_a_request_alone(llm, same, name):
    before = counted(llm, "spec_decode_num_accepted_tokens"), metrics.read()
    same(name, answers(llm, [ASKED[name]])[0])
    accepted = counted(llm, "spec_decode_num_accepted_tokens") - before[0]
    assert accepted > 0, "nothing that was drafted was accepted"
    after = metrics.read()
    assert sum(after[f"skipped {reason}"] for reason in metrics.REASONS) == 0
    seen = after["video_tokens"] - before[1]["video_tokens"]
    assert (seen > 0) == ("video" in name)
    assert after["kept_video_tokens"] - before[1]["kept_video_tokens"] == seen // 10


def test_the_prefill_came_in_chunks(llm):
    config = llm.llm_engine.vllm_config.scheduler_config
    prompt = llm.generate([ASKED["video 0"]], greedy(1), use_tqdm=False)[0]
    assert len(prompt.prompt_token_ids) > config.max_num_batched_tokens


def test_four_different_videos_together_with_preemption(llm, same):
    before = counted(llm, "num_preemptions"), metrics.read()["draft_prompts"]
    for name, tokens in zip(FOUR, answers(llm, [ASKED[name] for name in FOUR]), strict=True):
        same(name, tokens)
    preempted = counted(llm, "num_preemptions") - before[0]
    assert preempted > 0, "the engine had room for all: nothing was preempted"
    # Whoever came back was read again: its draft had been freed.
    assert metrics.read()["draft_prompts"] - before[1] > len(FOUR)


def test_all_scenarios_together(llm, same):
    for name, tokens in zip(ASKED, answers(llm, list(ASKED.values())), strict=True):
        same(name, tokens)


def test_a_prefix_cache_hit_reuses_the_vision_features(llm, same):
    answers(llm, [ASKED["video 0"]])
    before = metrics.read()
    found = llm.generate([ASKED["video 0"]], greedy(), use_tqdm=False)[0]
    assert found.num_cached_tokens > 0
    same("video 0", list(found.outputs[0].token_ids))
    after = metrics.read()
    assert after["vision_runs"] == before["vision_runs"]
    assert after["vision_reused"] == before["vision_reused"] + 1


def test_a_prefix_cache_hit_on_a_video_that_the_draft_has_not_seen(llm, same):
    name = "video 0, a long question"
    ends = 32 + 288  # the video's last token lies before, and vLLM's own tower will not run
    answers(llm, [ASKED[name]])
    runner(llm).drafter._store.clear()
    before = metrics.read()
    found = llm.generate([ASKED[name]], greedy(), use_tqdm=False)[0]
    assert found.num_cached_tokens >= ends
    same(name, list(found.outputs[0].token_ids))
    after = metrics.read()
    assert after["vision_runs"] == before["vision_runs"] + 1
    assert after["draft_prompts"] == before["draft_prompts"] + 1


def test_an_aborted_request_leaves_nothing_and_disturbs_nobody(llm, same):
    core = llm.llm_engine
    for name in FOUR[:3]:
        core.add_request(name, ASKED[name], greedy())
    done = {}
    for step in range(500):
        for output in core.step():
            if output.finished:
                done[output.request_id.split("-")[0]] = list(output.outputs[0].token_ids)
        if step == 12:
            assert metrics.read()["live_drafts"] == 3
            core.abort_request([FOUR[1]])
        if not core.has_unfinished_requests():
            break
    same(FOUR[0], done[FOUR[0]])
    same(FOUR[2], done[FOUR[2]])
    settle(llm)
    assert metrics.read()["live_drafts"] <= 1


def test_finished_requests_hold_no_memory(llm):
    answers(llm, [ASKED[name] for name in FOUR])
    settle(llm)
    drafter = runner(llm).drafter
    assert len(drafter._requests) == 0
    assert drafter._requests.cache.bytes == 0
    assert metrics.read()["live_drafts"] == 0


def test_drafts_are_as_good_as_those_of_rushes_itself(llm, monkeypatch):
    """Accepted per round, which positions, features or a cache that are off would cost."""
    reader = runner(llm).drafter._requests._reader
    monkeypatch.setattr(reader, "_scorer", Uniform())
    names = ("spec_decode_num_accepted_tokens", "spec_decode_num_drafts")
    before = [counted(llm, name) for name in names]
    tokens = answers(llm, [ASKED["video 3"]])[0]
    accepted, rounds = (counted(llm, name) - old for name, old in zip(names, before, strict=True))
    frames, about = clip(3)
    pair = bundled.pair()
    seconds = np.arange(len(frames)) / about["fps"]
    video = Video(frames, np.arange(len(frames)), seconds, about["fps"], len(frames), about["duration"])
    inputs = build_inputs(pair.processor, ASK, video)
    how = {"positions": "reference", "max_new_tokens": 100}
    ours = pair.generate_inputs(inputs, method="uniform+chain:gamma=5+exact+sequential", **how)
    assert ours.token_ids == tokens
    assert accepted / rounds == pytest.approx(ours.metrics["accepted_per_round"], abs=0.05)


def test_the_draft_ends_where_the_answer_must(llm, plain):
    for tokens in (1, 2, 3):
        assert answers(llm, [ASKED["video 0"]], tokens)[0] == plain["video 0"][:tokens]


def test_a_failure_while_drafting_costs_no_request(llm, same, monkeypatch):
    drafter = runner(llm).drafter
    calls = 0

    def broken(*args, **kwargs):
        nonlocal calls
        calls += 1
        raise RuntimeError("broken on purpose")

    before = metrics.read()["skipped error"]
    with monkeypatch.context() as patch:
        patch.setattr(drafter._model, "forward_rows", broken)
        for name, tokens in zip(FOUR, answers(llm, [ASKED[name] for name in FOUR]), strict=True):
            same(name, tokens)
    assert calls > 0
    assert metrics.read()["skipped error"] > before
    accepted = counted(llm, "spec_decode_num_accepted_tokens")
    same("video 0", answers(llm, [ASKED["video 0"]])[0])
    assert counted(llm, "spec_decode_num_accepted_tokens") > accepted, "drafting did not come back"


def test_over_budget_a_request_goes_on_undrafted(llm, same, monkeypatch):
    drafter = runner(llm).drafter
    settle(llm)
    cache = drafter._requests.cache
    before = metrics.read()["skipped memory"]
    monkeypatch.setattr(cache, "budget", cache.bytes_for(2, 256))
    for name, tokens in zip(FOUR, answers(llm, [ASKED[name] for name in FOUR]), strict=True):
        same(name, tokens)
    assert metrics.read()["skipped memory"] > before
    assert cache.bytes <= cache.budget


def test_a_draft_that_outgrows_the_budget_is_given_up_alone(llm, same, monkeypatch):
    drafter = runner(llm).drafter
    settle(llm)
    cache = drafter._requests.cache
    before = metrics.read()
    # Room for both prompts, not for the longer answer behind them; the short one is done before.
    monkeypatch.setattr(cache, "budget", cache.bytes_for(2, 128))
    how = [greedy(), greedy(20)]
    found = llm.generate([ASKED["video 0"], ASKED["video 1"]], how, use_tqdm=False)
    same("video 0", list(found[0].outputs[0].token_ids))
    after = metrics.read()
    assert after["draft_prompts"] == before["draft_prompts"] + 2
    assert after["skipped memory"] == before["skipped memory"] + 1
    assert after["skipped error"] == before["skipped error"]


def test_penalties_keep_the_answer(llm, plain):
    params = SamplingParams(temperature=0, max_tokens=60, repetition_penalty=1.3)
    drafted = llm.generate([ASKED["video 1"]], params, use_tqdm=False)[0].outputs[0].token_ids
    drafter = runner(llm).drafter
    requests, drafter._requests = drafter._requests, None  # the same engine without drafts
    try:
        undrafted = llm.generate([ASKED["video 1"]], params, use_tqdm=False)[0].outputs[0].token_ids
    finally:
        drafter._requests = requests
    assert list(drafted) == list(undrafted) != plain["video 1"][:60]
