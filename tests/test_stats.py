"""The three acceptance counts on rounds made by hand, and the keys that tools rely on."""

import json

import pytest

from rushes import Pair
from rushes.stats import PHASES, Stats
from rushes.timeline import Span
from tiny import noisy, tiny_qwen2_5_vl, tiny_video_inputs


def stats_of(*rounds: tuple[int, int, int], emitted: int) -> Stats:
    """From (drafted, accepted, depth) of each target pass."""
    stats = Stats(emitted=emitted)
    for drafted, accepted, depth in rounds:
        stats.count_round(drafted, accepted, depth)
    return stats


def test_three_counts_that_are_never_mixed() -> None:
    # Windows of 4: all, all, two, all, none; each adds one token, and the prefill one.
    stats = stats_of((4, 4, 4), (4, 4, 4), (4, 2, 4), (4, 4, 4), (4, 0, 4), emitted=1 + 14 + 5)
    assert stats.accepted == 14
    assert stats.accepted_per_round == 14 / 5
    assert stats.accepted_between_rejections == 14 / 2  # 4 + 4 + 2, then 4 + 0
    metrics = stats.metrics()
    assert metrics["tokens_per_target_pass"] == pytest.approx(19 / 5)
    assert metrics["speculative_decoding"] == {
        "mean_acceptance_length": pytest.approx(1 + 14 / 5),
        "draft_acceptance_rate": 14 / 20,
        "acceptance_histogram": [1, 0, 1, 0, 3],
        "num_spec_steps": 5,
        "num_accepted_draft_tokens": 14,
        "num_draft_tokens": 20,
        "num_spec_tokens": 4,
    }


def test_a_tree_drafts_more_than_it_can_accept() -> None:
    stats = stats_of((25, 5, 5), (25, 1, 5), emitted=9)
    assert stats.accepted_per_round == 3
    assert stats.accepted_between_rejections == 6
    assert stats.metrics()["speculative_decoding"]["draft_acceptance_rate"] == 6 / 50
    assert stats.metrics()["speculative_decoding"]["num_spec_tokens"] == 5


def test_a_pass_without_a_window_is_no_round() -> None:
    stats = stats_of((3, 3, 3), (0, 0, 0), emitted=6)
    assert stats.rounds == [3]
    assert stats.target_passes == 2
    assert stats.accepted_between_rejections == 3  # never rejected
    assert stats.metrics()["tokens_per_target_pass"] == 5 / 2


def test_before_anything_happened_all_is_zero() -> None:
    metrics = Stats().metrics()
    assert metrics["accepted_per_round"] == metrics["accepted_between_rejections"] == 0
    assert metrics["tokens_per_second"] == metrics["tokens_per_target_pass"] == 0
    assert metrics["speculative_decoding"]["acceptance_histogram"] == []
    assert metrics["speculative_decoding"]["mean_acceptance_length"] == 1


def test_the_first_token_belongs_to_the_prefill() -> None:
    stats = Stats(emitted=11)
    stats.time_s["decoding"] = 2.0
    stats.timeline.spans += [Span("draft", "window", 0.0, 0.5), Span("target", "review", 0.5, 1.75)]
    assert stats.tokens_per_second == 5.0
    assert stats.overhead_s == 0.25


def test_a_phase_adds_up_even_when_it_fails() -> None:
    stats = Stats()
    with stats.phase("vision"):
        pass
    first = stats.time_s["vision"]
    with pytest.raises(KeyError), stats.phase("vision"):
        raise KeyError
    assert stats.time_s["vision"] > first > 0


@pytest.mark.parametrize("name", ["ar", "sd", "specvlm"])
def test_a_requests_metrics_have_the_agreed_keys_and_add_up(name: str) -> None:
    model = tiny_qwen2_5_vl()
    result = Pair(model, noisy(model, 0.05)).generate_inputs(tiny_video_inputs(model), method=name, max_new_tokens=24)
    made = json.loads(json.dumps(result.to_json()))
    assert {"text", "token_ids", "finish_reason", "method", "lossless", "video", "metrics"} <= made.keys()
    assert made["video"].keys() == {"frames", "tokens", "kept_tokens", "kept_indices"}
    metrics = made["metrics"]
    agreed = {"speculative_decoding", "accepted_per_round", "accepted_between_rejections", "time_s"}
    assert agreed | {"tokens_per_second", "time_to_first_token_s"} <= metrics.keys()
    assert metrics["time_s"].keys() == set(PHASES)
    speculative = metrics["speculative_decoding"]
    assert speculative.keys() == {
        "mean_acceptance_length",
        "draft_acceptance_rate",
        "acceptance_histogram",
        "num_spec_steps",
        "num_accepted_draft_tokens",
        "num_draft_tokens",
        "num_spec_tokens",
    }
    # Every token is the prefill's, an accepted one, or one that a target pass added.
    assert len(made["token_ids"]) == 24 == 1 + speculative["num_accepted_draft_tokens"] + metrics["target_passes"]
    assert sum(speculative["acceptance_histogram"]) == speculative["num_spec_steps"]
    histogram = enumerate(speculative["acceptance_histogram"])
    assert sum(i * count for i, count in histogram) == speculative["num_accepted_draft_tokens"]
    parts = sum(seconds for phase, seconds in metrics["time_s"].items() if phase != "total")
    assert 0 < parts <= metrics["time_s"]["total"]


def test_accepted_tokens_behind_the_end_of_the_answer_do_not_count() -> None:
    stats = Stats()
    stats.count_emitted(1)
    stats.count_round(drafted=5, accepted=5, depth=5)
    stats.count_emitted(3, cut=3)  # the end-of-sequence token was the third accepted one
    assert stats.accepted == 3
    assert stats.emitted == 4
