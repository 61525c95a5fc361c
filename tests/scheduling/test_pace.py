"""gamma "auto" on a simulated clock: near the best window where drafting pays, else near plain decoding."""

import random
from dataclasses import dataclass

import pytest

from rushes import Pair
from rushes.scheduling.pace import CREDIT, MARGIN, Pace
from tiny import contrary, noisy, tiny_qwen2_5_vl, tiny_video_inputs


@dataclass
class World:
    """What things cost, in passes of the target, and how often a candidate is right."""

    draft_s: float
    row_s: float
    right: float
    jitter: float = 0.0
    later: float | None = None  # `right` behind token `turn`
    turn: int = 100
    seed: int = 0

    def run(self, tokens: int, widest: int = 32) -> tuple[float, list[int], Pace]:
        """Seconds for so many tokens, the windows, and the pace."""
        chance = random.Random(self.seed)
        pace, elapsed, emitted, pending = Pace(widest), 0.0, 0, 1
        depths = []
        while emitted < tokens:
            depth = pace.next_depth(pending)
            depths.append(depth)
            right = self.right if emitted < self.turn or self.later is None else self.later
            accepted = next((i for i in range(depth) if chance.random() >= right), depth)
            noise = 1 + self.jitter * chance.random()
            draft_s = depth * self.draft_s * noise + (pending - 1) * self.draft_s / 8 * (depth > 0)
            round_s = draft_s + (1 + depth * self.row_s) * noise
            pace.observe(depth, depth, accepted, pending, draft_s, round_s)
            elapsed += round_s
            emitted += accepted + 1
            pending = 1 if depth else pending + 1
        return elapsed * tokens / emitted, depths, pace


@pytest.mark.parametrize("right", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("draft_s", [0.05, 0.1, 0.3, 0.9, 2.0])
@pytest.mark.parametrize("row_s", [0.0, 0.02, 0.2])
def test_a_draft_that_is_not_worth_it_costs_five_percent_at_most(right: float, draft_s: float, row_s: float) -> None:
    for seed in range(3):
        elapsed, _, _ = World(draft_s, row_s, right, jitter=0.1, seed=seed).run(120)
        assert elapsed < 120 * (1 + 0.1 / 2) * 1.05  # jitter makes plain passes dearer too


def test_a_hopeless_draft_is_switched_off_and_the_metrics_say_so() -> None:
    elapsed, depths, pace = World(0.1, 0.02, 0.0).run(300)
    assert elapsed < 300 * (1 + MARGIN) + CREDIT
    assert depths.count(0) > 0.7 * len(depths)
    assert pace.metrics()["plain_rounds"] == depths.count(0)
    assert pace.metrics()["switched_off"]
    assert not World(0.1, 0.02, 0.9).run(300)[2].metrics()["switched_off"]


@pytest.mark.parametrize(("right", "draft_s"), [(0.8, 0.1), (0.9, 0.1), (0.95, 0.05), (0.8, 0.3), (1.0, 0.1)])
def test_a_good_draft_comes_near_the_best_fixed_window(right: float, draft_s: float) -> None:
    best = max(
        sum(right**k for k in range(depth + 1)) / (1 + depth * (draft_s + 0.02))
        for depth in range(1, round(1 / draft_s) + 1)
    )
    times = [World(draft_s, 0.02, right, seed=seed).run(400)[0] for seed in range(5)]
    assert sum(times) / 5 < 400 / best * 1.15


def test_the_widest_window_is_the_ratio_of_speeds() -> None:
    for draft_s in (0.5, 0.2, 0.1):
        _, depths, pace = World(draft_s, 0.0, 1.0).run(400)
        assert max(depths) == round(1 / draft_s) == round(pace.ratio)
    assert max(World(0.01, 0.0, 1.0).run(400, widest=7)[1]) == 7


def test_it_begins_with_plain_passes_to_measure_and_one_token_to_try() -> None:
    _, depths, _ = World(0.1, 0.02, 0.9).run(50)
    assert depths[:3] == [0, 0, 1]
    assert all(b > 0 for b in depths[2:])


def test_windows_shrink_when_acceptance_falls_and_come_back() -> None:
    _, depths, _ = World(0.1, 0.02, 1.0, later=0.05).run(300)
    assert max(depths[:20]) == 10
    assert sum(depths[-30:]) < 30  # mostly plain
    _, depths, _ = World(0.1, 0.02, 0.0, later=1.0).run(400)
    assert depths.count(0) > 60
    assert depths[-1] > 5


def test_plain_passes_in_between_are_measured_again() -> None:
    pace = Pace(8)
    for seconds in (1.0, 1.0, 1.0):
        pace.observe(0, 0, 0, 1, 0.0, seconds)
    for _ in range(9):
        pace.observe(0, 0, 0, 1, 0.0, 2.0)
    assert pace.plain_s == 2.0


def test_answers_under_auto_are_the_targets_and_the_metrics_tell() -> None:
    model = tiny_qwen2_5_vl()
    inputs = tiny_video_inputs(model)
    for draft, method in ((noisy(model, 0.05), "specvlm"), (contrary(model), "sd"), (None, "std")):
        pair = Pair(model, draft)
        plain = pair.generate_inputs(inputs, method="ar", max_new_tokens=40)
        result = pair.generate_inputs(inputs, method=method, gamma="auto", max_new_tokens=40)
        assert result.token_ids == plain.token_ids
        gamma = result.metrics["gamma"]
        assert gamma["auto"]
        assert gamma["target_over_draft"] > 0
        assert gamma["plain_rounds"] >= 2
        assert plain.metrics["gamma"] == {"auto": False}


@pytest.mark.parametrize("turn", [4, 7, 12, 30, 60])
@pytest.mark.parametrize("draft_s", [0.05, 0.2, 0.7])
def test_whenever_a_draft_turns_bad_the_request_stays_within_the_bound(turn: int, draft_s: float) -> None:
    for seed in range(10):
        elapsed, _, _ = World(draft_s, 0.03, 0.9, later=0.0, turn=turn, seed=seed).run(120)
        assert elapsed <= 120 * (1 + MARGIN) + CREDIT + 0.01
