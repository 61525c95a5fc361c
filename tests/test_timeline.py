"""A timeline adds up: what ran is counted once, what overlaps is seen, and the shares of a worker sum to 1."""

import copy
import pickle
import threading
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushes.timeline import DRAFT, TARGET, Span, Timeline, common, length, union

INTERVALS = st.lists(
    st.builds(lambda start, long: (start, start + long), st.integers(0, 30), st.integers(0, 8)),
    max_size=8,
)


def cells(intervals: list[tuple[float, float]]) -> set[int]:
    """The unit cells that intervals between whole numbers cover."""
    return {cell for start, end in intervals for cell in range(int(start), int(end))}


def timeline(*spans: tuple[object, ...], total: float = 0.0) -> Timeline:
    return Timeline([Span(*span) for span in spans], total)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set by hand."""
    now = [0.0]
    monkeypatch.setattr("rushes.timeline.time.perf_counter", lambda: now[0])
    return now


class TestIntervals:
    @given(INTERVALS)
    def test_a_union_is_the_same_points_in_disjoint_intervals(self, intervals: list[tuple[int, int]]) -> None:
        merged = union(intervals)
        assert cells(merged) == cells(intervals)
        assert length(merged) == len(cells(intervals))
        assert all(before[1] < after[0] for before, after in pairwise(merged))

    @given(INTERVALS, INTERVALS)
    def test_common_is_where_both_are(self, ours: list[tuple[int, int]], theirs: list[tuple[int, int]]) -> None:
        both = common(union(ours), union(theirs))
        assert cells(both) == cells(ours) & cells(theirs)
        assert length(both) == len(cells(both)), "counted once"

    def test_by_hand(self) -> None:
        assert union([(3, 4), (0, 1), (1, 2), (3.5, 6), (3.6, 3.7)]) == [(0, 2), (3, 6)]
        assert common([(0, 2), (3, 6)], [(1, 4), (5, 9)]) == [(1, 2), (3, 4), (5, 6)]
        assert common([(0, 1)], [(1, 2)]) == []
        assert union([]) == []


class TestShares:
    def test_busy_idle_and_discarded(self) -> None:
        made = timeline(
            (TARGET, "prefill", 1.0, 4.0),
            (TARGET, "review", 5.0, 7.0),
            (DRAFT, "window", 4.0, 5.0),
            (DRAFT, "window", 5.0, 6.5, 5, True),
            total=10.0,
        )
        assert made.shares()[TARGET] == pytest.approx({"busy": 0.5, "idle": 0.5, "discarded": 0})
        assert made.shares()[DRAFT] == pytest.approx({"busy": 0.1, "idle": 0.75, "discarded": 0.15})

    def test_scoring_inside_the_prefill_counts_once_and_behind_it_too(self) -> None:
        inside = timeline((TARGET, "prefill", 0.0, 4.0), (TARGET, "scoring", 1.0, 2.0), total=8.0)
        assert inside.shares()[TARGET]["busy"] == 0.5
        behind = timeline((TARGET, "prefill", 0.0, 4.0), (TARGET, "scoring", 4.0, 5.0), total=8.0)
        assert behind.shares()[TARGET]["busy"] == 0.625
        across = timeline((TARGET, "prefill", 0.0, 4.0), (TARGET, "scoring", 3.0, 5.0), total=8.0)
        assert across.shares()[TARGET]["busy"] == 0.625

    def test_work_that_outlasts_the_request_is_counted(self) -> None:
        made = timeline((TARGET, "review", 0.0, 4.0), (DRAFT, "window", 0.0, 5.0, 3, True), total=4.0)
        assert made.end_s == 5
        assert made.shares()[TARGET] == pytest.approx({"busy": 0.8, "idle": 0.2, "discarded": 0})
        assert made.shares()[DRAFT] == {"busy": 0, "idle": 0, "discarded": 1}

    def test_of_nothing(self) -> None:
        assert Timeline().end_s == 0
        assert Timeline().shares() == {lane: {"busy": 0, "idle": 1, "discarded": 0} for lane in (TARGET, DRAFT)}
        assert timeline(total=3.0).shares()[DRAFT]["idle"] == 1

    @given(
        st.lists(
            st.tuples(st.sampled_from([TARGET, DRAFT]), st.floats(0, 50), st.floats(0, 9), st.booleans()), max_size=20
        ),
        st.floats(0, 60),
    )
    def test_they_sum_to_one(self, spans: list[tuple[str, float, float, bool]], total: float) -> None:
        made = timeline(*((lane, "window", at, at + long, 1, bad) for lane, at, long, bad in spans), total=total)
        for share in made.shares().values():
            assert sum(share.values()) == pytest.approx(1)
            assert all(-1e-9 <= part <= 1 + 1e-9 for part in share.values())


class TestOverlap:
    def test_preparation_is_hidden_where_the_target_works(self) -> None:
        made = timeline(
            (TARGET, "vision", 0.0, 2.0),
            (TARGET, "prefill", 3.0, 6.0),
            (TARGET, "scoring", 4.0, 5.0),
            (DRAFT, "vision", 1.0, 3.0),  # a second hidden, a second not
            (DRAFT, "prefill", 5.0, 7.0),  # as well
            (DRAFT, "window", 7.0, 20.0),  # no preparation
        )
        assert made.hidden_preparation() == 0.5

    def test_one_after_the_other_hides_nothing(self) -> None:
        made = timeline((TARGET, "prefill", 0.0, 2.0), (DRAFT, "prefill", 2.0, 3.0), (TARGET, "review", 3.0, 4.0))
        assert made.hidden_preparation() == 0

    def test_reviews_hide_it_too(self) -> None:
        made = timeline((TARGET, "review", 0.0, 2.0), (DRAFT, "prefill", 1.0, 2.0))
        assert made.hidden_preparation() == 1

    def test_without_a_draft_there_is_nothing_to_hide(self) -> None:
        assert timeline((TARGET, "prefill", 0.0, 2.0)).hidden_preparation() is None
        assert timeline((DRAFT, "window", 0.0, 2.0)).hidden_preparation() is None

    def test_busy_seconds_of_either_count_once(self) -> None:
        made = timeline((TARGET, "review", 0.0, 4.0), (DRAFT, "window", 3.0, 5.0, 2, True), (DRAFT, "window", 7.0, 8.0))
        assert made.busy_s() == 6
        assert made.busy_s(3.5) == 2.5
        assert made.busy_s(6.0) == 1
        assert made.busy_s(8.0) == 0


@pytest.mark.usefixtures("clock")
class TestWriting:
    def test_a_span_around_a_block(self, clock: list[float]) -> None:
        made = Timeline(_origin=0.0)
        clock[0] = 2.0
        with made.span(TARGET, "prefill", 7) as span:
            clock[0] = 5.0
            span.discarded = True
        assert made.spans == [Span(TARGET, "prefill", 2, 5, 7, True)]

    def test_a_block_that_fails_leaves_a_closed_span(self, clock: list[float]) -> None:
        made = Timeline(_origin=0.0)

        def fail() -> None:
            with made.span(DRAFT, "window"):
                clock[0] = 3.0
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert made.spans == [Span(DRAFT, "window", 0, 3)]

    def test_the_request_arrives_when_it_starts(self, clock: list[float]) -> None:
        made = Timeline(_origin=0.0)
        clock[0] = 7.0
        made.start()
        clock[0] = 8.0
        assert made.now() == 1

    def test_the_callers_turn_is_left_out(self, clock: list[float]) -> None:
        made = Timeline(_origin=0.0)
        with made.span(TARGET, "prefill"):
            clock[0] = 4.0
        clock[0] = 104.0
        made.resume(4.0)
        assert made.now() == 4
        with made.span(TARGET, "review"):
            clock[0] = 105.0
        assert made.spans == [Span(TARGET, "prefill", 0, 4), Span(TARGET, "review", 4, 5)]

    def test_but_for_the_time_that_a_worker_was_busy_in_it(self, clock: list[float]) -> None:
        made = Timeline(_origin=0.0)
        vision = made.begin(DRAFT, "vision")
        for kind in ("vision", "prefill"):
            with made.span(TARGET, kind):
                clock[0] += 1.0
        clock[0] = 10.0  # the caller has had the turn since 2
        made.end(vision)
        clock[0] = 104.0
        made.resume(2.0)
        assert made.now() == 10
        with made.span(DRAFT, "prefill"):
            clock[0] = 105.0
        assert [(span.start_s, span.end_s) for span in made.spans] == [(0, 10), (0, 1), (1, 2), (10, 11)]

    def test_a_worker_that_is_still_busy_leaves_nothing_to_leave_out(self, clock: list[float]) -> None:
        made = Timeline(_origin=0.0)
        clock[0] = 1.0
        span = made.begin(DRAFT, "prefill")
        clock[0] = 51.0
        made.resume(1.0)
        clock[0] = 53.0
        made.end(span)
        assert (span.start_s, span.end_s) == (1, 53)
        clock[0] = 60.0
        made.resume(53.0)
        assert made.now() == 53, "and then it is idle"


def test_a_record_can_be_copied_and_pickled() -> None:
    made = timeline((TARGET, "prefill", 0.0, 3.0, 7), total=4.0)
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert other.to_json() == made.to_json()
        with other.span(DRAFT, "window"):
            pass
        assert len(made.spans) == 1


def test_two_threads_may_write() -> None:
    made = Timeline()

    def work(lane: str) -> None:
        for i in range(300):
            with made.span(lane, "window", i):
                time.sleep(0)

    threads = [threading.Thread(target=work, args=(lane,)) for lane in (TARGET, DRAFT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for lane in (TARGET, DRAFT):
        own = [span for span in made.spans if span.lane == lane]
        assert [span.tokens for span in own] == list(range(300))
        assert all(a.start_s <= a.end_s <= b.start_s for a, b in pairwise(own))
    assert 0 < own[0].start_s < made.now()


def test_json_holds_everything_in_order() -> None:
    late, early = (TARGET, "review", 2.0, 4.0, 6, False), (DRAFT, "prefill", 1.0, 2.0, 5, True)
    made = timeline(late, early, total=4.0)
    names = ("lane", "kind", "start_s", "end_s", "tokens", "discarded")
    assert made.to_json() == {
        "total_s": 4.0,
        "shares": made.shares(),
        "hidden_preparation": 0.0,
        "spans": [dict(zip(names, early, strict=True)), dict(zip(names, late, strict=True))],
    }
