"""The simulated schedules against traces whose outcome is known, and against PEARL's two modes written out."""

import itertools
import math
import random
from collections.abc import Sequence

import pytest

from rushes.bench.planning.acceptance import Trace, geometric, tree_paths
from rushes.bench.planning.engine import Engine, Process, Signal, Task
from rushes.bench.planning.papers import closed_speedup
from rushes.bench.planning.request import Costs, How, Run
from rushes.bench.planning.roofline import Job, rates
from rushes.bench.planning.simulate import many, simulate
from rushes.timeline import DRAFT, TARGET

NONE = Job(0.0)


def costs(
    target_s: float = 1.0,
    draft_s: float = 0.1,
    row_s: float = 0.0,
    preparation: Sequence[float] = (0.0, 0.0, 0.0, 0.0),
    both: float = 1.0,
) -> Costs:
    """Jobs of round numbers; `both`: the speed of each of two jobs side by side."""
    jobs = [Job(seconds) for seconds in preparation]
    return Costs(
        *jobs,
        review=lambda rows: Job(target_s + (rows - 1) * row_s),
        levels=[Job(draft_s)],
        rates=lambda one, other: (both, both) if one and other else (1.0, 1.0),
    )


def trace(*right: int) -> Trace:
    return Trace(tuple(0 if one else 1 for one in right))


def pearl_passes(right: Sequence[bool], gamma: int, tokens: int) -> int:
    """`methods.md` section 6, word by word: target passes until `tokens` tokens are emitted."""
    emitted, passes, post = 0, 0, False
    while emitted < tokens:
        passes += 1
        if not post:  # one distribution tests the first token of the window being written
            post = right[emitted]
            emitted += 1
        else:  # gamma of them test the rest of that window, and the first token of the next
            tested = right[emitted : emitted + gamma]
            good = tested.index(False) if False in tested else gamma
            post = good == gamma
            emitted += good if post else good + 1
    return passes


def lanes_are_sane(run: Run) -> None:
    for lane in (TARGET, DRAFT):
        spans = [span for span in run.spans if span.lane == lane]
        for one, following in itertools.pairwise(spans):
            assert one.end_s <= following.start_s + 1e-9
    assert max(span.end_s for span in run.spans) <= run.total_s + 1e-9


class TestSequential:
    def test_plain_decoding_is_one_pass_for_each_token(self) -> None:
        run = simulate(How(gamma=0), costs(preparation=(1, 2, 9, 9)), trace(1), 11)
        assert run.decoding_s == pytest.approx(10)
        assert run.total_s == pytest.approx(13)
        assert run.first_s == pytest.approx(3)
        assert [rows for rows, _ in run.reviews] == [1] * 10

    @pytest.mark.parametrize("accepted", range(4))
    def test_a_rejection_at_every_index(self, accepted: int) -> None:
        """The trace repeats itself with the rounds: so many right, then the target's own token."""
        run = simulate(How(gamma=3), costs(), trace(*[1] * accepted, 0), 1 + 10 * (accepted + 1), offset=accepted)
        assert [good for _, good in run.reviews] == [accepted] * 10
        # A round drafts no more than can still be emitted beside the target's own token.
        left = [(accepted + 1) * (10 - i) for i in range(10)]
        assert run.decoding_s == pytest.approx(sum(1 + 0.1 * min(3, one - 1) for one in left))

    def test_all_accepted(self) -> None:
        run = simulate(How(gamma=4), costs(), trace(1), 1 + 5 * 7)
        assert [good for _, good in run.reviews] == [4] * 7
        assert run.decoding_s == pytest.approx(7 * 1.4)

    def test_rows_cost(self) -> None:
        run = simulate(How(gamma=4), costs(row_s=0.05), trace(1), 1 + 5)
        assert run.decoding_s == pytest.approx(1.2 + 0.4)

    def test_the_draft_prepares_behind_the_first_token(self) -> None:
        run = simulate(How(gamma=1), costs(preparation=(1, 2, 3, 4)), trace(1), 3)
        assert (run.first_s, run.total_s, run.decoding_s) == pytest.approx((3, 11.1, 1.1))

    def test_a_tree_takes_the_second_choice(self) -> None:
        # The static tree holds 1, 10 and 100, but nothing below 100.
        how = How(gamma=5, tree=tree_paths())
        run = simulate(how, costs(), Trace((1, 0, 0, 0, 0, 0)), 20, offset=5)
        assert run.reviews[0] == (26, 3)
        run = simulate(how, costs(), Trace((4,)), 4)
        assert [good for _, good in run.reviews] == [0, 0, 0]


class TestOverlapped:
    def test_none_accepted_is_plain_decoding_with_a_busy_draft(self) -> None:
        run = simulate(How(gamma=5, overlap=True), costs(), trace(0), 21)
        assert run.decoding_s == pytest.approx(20)
        assert [rows for rows, _ in run.reviews] == [1] * 20
        windows = [span for span in run.spans if span.kind == "window"]
        assert windows
        assert all(span.discarded for span in windows)

    def test_all_accepted_is_gamma_tokens_a_pass(self) -> None:
        run = simulate(How(gamma=5, overlap=True), costs(draft_s=0.2), trace(1), 1 + 1 + 5 * 10)
        assert run.reviews == [(1, 0), *[(5, 4)] * 10]
        assert run.decoding_s == pytest.approx(11)
        assert not any(span.discarded for span in run.spans)

    def test_a_fixed_window_makes_the_target_wait(self) -> None:
        run = simulate(How(gamma=5, overlap=True), costs(draft_s=0.3), trace(1), 1 + 1 + 5 * 10)
        # The last windows are bounded by what may still be emitted, so only the first nine take all of 5 steps.
        assert run.decoding_s == pytest.approx(10 * 1.5 + 1)

    def test_without_gamma_as_many_as_fit(self) -> None:
        run = simulate(How(gamma=None, overlap=True), costs(draft_s=0.24), trace(1), 200)
        # 5 steps begin within a pass; the last ends behind it, and the target waits for it.
        assert run.reviews[1:5] == [(5, 4)] * 4
        assert run.decoding_s == pytest.approx(1.2 * len(run.reviews), rel=0.03)

    def test_a_slow_draft_is_waited_for(self) -> None:
        run = simulate(How(gamma=None, overlap=True), costs(draft_s=3.0), trace(0), 5)
        assert run.decoding_s > 4

    @pytest.mark.parametrize("gamma", [2, 3, 5, 9])
    @pytest.mark.parametrize("chance", [0.0, 0.3, 0.8, 0.95, 1.0])
    def test_passes_are_those_of_pearl(self, gamma: int, chance: float) -> None:
        draw = random.Random(f"{gamma} {chance}")
        right = [draw.random() < chance for _ in range(400)]
        how = How(gamma=gamma, overlap=True)
        for tokens in (1, 2, 3, 50, 51, 52, 53, 300):
            run = simulate(how, costs(draft_s=1 / gamma), trace(*right), tokens + 1, offset=-1)
            assert run.emitted == tokens + 1
            assert len(run.reviews) == pearl_passes(right, gamma, tokens)
            lanes_are_sane(run)

    @pytest.mark.parametrize("index", range(6))
    def test_a_rejection_at_every_index_of_a_window(self, index: int) -> None:
        """Two tokens bring up a full window of 4 and a guess; then one of its tokens, or the guess, is wrong."""
        right = [1, *[1] * index, 0, *[1] * 40]
        run = simulate(How(gamma=5, overlap=True), costs(), trace(*right), 30, offset=-1)
        assert run.reviews[0] == (1, 0)
        if index < 5:
            assert run.reviews[1] == (5, min(index, 4))
            assert run.reviews[2][0] == 1  # nothing waits behind a rejection
            dropped = [span for span in run.spans if span.discarded]
            assert len(dropped) == 5
            assert all(1 <= span.start_s < 2 for span in dropped)  # beside the pass that rejected
        else:
            assert run.reviews[1:4] == [(5, 4), (5, 0), (1, 0)]

    @pytest.mark.parametrize(("between", "gamma"), [(2, 3), (4, 5), (6, 9), (12, 9)])
    def test_the_mean_is_pearls_formula(self, between: float, gamma: int) -> None:
        tokens = 30_000
        right = geometric(between / (between + 1), tokens, seed=1)
        result, _ = many(How(gamma=gamma, overlap=True), costs(draft_s=1 / gamma), right, tokens, tokens)
        assert (tokens - 1) / result.decoding_s == pytest.approx(closed_speedup(between, gamma), rel=0.03)

    def test_a_lead_lets_the_first_pass_test_more(self) -> None:
        run = simulate(How(gamma=4, overlap=True, lead=3), costs(), trace(1), 40)
        assert run.reviews[0] == (4, 3)
        assert run.spans[0].start_s == 0
        assert [span.lane for span in run.spans if span.kind != "prefill"][2:6] == [DRAFT, DRAFT, DRAFT, TARGET]

    def test_taking_turns_is_sequential_decoding(self) -> None:
        right = geometric(0.8, 500, seed=3)
        turns = simulate(How(gamma=4, overlap=True, lead=4, ahead=False), costs(), right, 300)
        one_by_one = simulate(How(gamma=4), costs(), right, 300)
        assert turns.reviews == one_by_one.reviews
        assert turns.decoding_s == pytest.approx(one_by_one.decoding_s)
        lanes_are_sane(turns)

    def test_on_a_shared_device_both_slow_down(self) -> None:
        alone = simulate(How(gamma=5, overlap=True), costs(draft_s=0.2), trace(1), 52)
        shared = simulate(How(gamma=5, overlap=True), costs(draft_s=0.2, both=0.5), trace(1), 52)
        # Draft and target take exactly as long, so that every second of either is slowed.
        assert shared.decoding_s == pytest.approx(2 * alone.decoding_s, rel=0.1)
        assert shared.slowed_s == pytest.approx(shared.decoding_s / 2, rel=0.1)
        assert alone.slowed_s == 0


class TestPrefill:
    """Target: vision 1 s, prefill 4 s. Draft: vision 2 s, prefill 1 s, 0.25 s a step."""

    PREPARATION = (1.0, 4.0, 2.0, 1.0)

    def run(self, ready: str) -> Run:
        how = How(gamma=5, overlap=True, ready=ready)
        made = simulate(how, costs(draft_s=0.25, preparation=self.PREPARATION), trace(1), 100)
        assert made.first_s == pytest.approx(5)
        lanes_are_sane(made)
        return made

    @pytest.mark.parametrize(("ready", "starts_s"), [("vision", 2.0), ("early", 2.0), ("prefill", 5.0)])
    def test_the_draft_prefills_when_its_tokens_are_known(self, ready: str, starts_s: float) -> None:
        run = self.run(ready)
        [prefill] = [span for span in run.spans if span.lane == DRAFT and span.kind == "prefill"]
        assert prefill.start_s == pytest.approx(starts_s)

    def test_early_waits_for_a_quarter_of_the_layers(self) -> None:
        how = How(gamma=5, overlap=True, ready="early")
        run = simulate(how, costs(preparation=(1, 8, 0.5, 1)), trace(1), 10)
        [prefill] = [span for span in run.spans if span.lane == DRAFT and span.kind == "prefill"]
        assert prefill.start_s == pytest.approx(1 + 8 / 4)

    @pytest.mark.parametrize(("ready", "first"), [("vision", (5, 4)), ("early", (5, 4)), ("prefill", (1, 0))])
    def test_the_first_window_is_there_when_the_prefill_ends(self, ready: str, first: tuple[int, int]) -> None:
        assert self.run(ready).reviews[0] == first

    def test_what_was_written_for_a_wrong_first_token_is_dropped(self) -> None:
        how = How(gamma=5, overlap=True, ready="early")
        run = simulate(how, costs(draft_s=0.25, preparation=self.PREPARATION), trace(0, *[1] * 99), 50)
        assert run.reviews[0][0] == 1
        assert sum(span.discarded for span in run.spans) == 5

    def test_it_saves_the_drafts_preparation(self) -> None:
        in_turn = simulate(How(gamma=5), costs(preparation=self.PREPARATION), trace(0), 9)
        at_once = simulate(
            How(gamma=5, overlap=True, ready="vision", lead=5, ahead=False),
            costs(preparation=self.PREPARATION),
            trace(0),
            9,
        )
        assert in_turn.total_s - at_once.total_s == pytest.approx(2 + 1)


class TestEngine:
    def test_two_streams_share_bandwidth_and_operations(self) -> None:
        def one(lane: str, job: Job) -> Process:
            yield Task(lane, "work", job)

        hungry, modest = Job(1.0, memory=0.9, compute=0.1), Job(1.0, memory=0.1, compute=0.2)
        for other, devices, expected in ((hungry, 1, 1.8), (hungry, 2, 1.0), (modest, 1, 1.0)):
            engine = Engine(lambda a, b, devices=devices: rates(a, b, devices))  # type: ignore[misc]
            both = Signal()

            def wait(first: Process, second: Signal) -> Process:
                yield from first
                yield second

            def tell(first: Process, second: Signal) -> Process:
                yield from first
                second.fire()

            engine.run(wait(one(TARGET, hungry), both), tell(one(DRAFT, other), both))
            assert engine.now_s == pytest.approx(expected)

    def test_a_deadlock_is_an_error(self) -> None:
        def stuck() -> Process:
            yield Signal()

        with pytest.raises(RuntimeError, match="every process waits"):
            Engine(lambda *_: (1.0, 1.0)).run(stuck())

    def test_what_runs_on_behind_the_end_is_cut(self) -> None:
        run = simulate(How(gamma=3, overlap=True), costs(draft_s=50.0), trace(0), 2)
        assert math.isfinite(run.total_s)
        lanes_are_sane(run)
