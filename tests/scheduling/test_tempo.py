"""Plans from measured speeds, on speeds made by hand."""

import random

import pytest

from rushes.scheduling.tempo import Plan, Tempo, rounds_between_rejections
from rushes.window import Window, chain_parents


def tempo(
    *, acceptance: float = 0.9, pass_s: float = 0.1, step_s: float = 0.01, row_s: float = 0.0, **how: object
) -> Tempo:
    settings: dict[str, object] = {
        "widest": 32,
        "fixed": False,
        "shared": False,
        "always": False,
        "cautious": False,
        "contention": None,
    }
    made = Tempo(**{**settings, **how})  # type: ignore[arg-type]
    made.observe_pass(1, pass_s, 0)
    made.observe_window(Window([1] * 5, chain_parents(5)), step_s)
    if row_s:
        for _ in range(40):
            made.observe_pass(6, pass_s + 5 * row_s, 0)
    for i in range(400):
        right = (i * 0.6180339887) % 1 < acceptance
        made.observe_round(overlapped=True, tested=1, accepted=int(right))
    return made


@pytest.mark.parametrize(("lead", "ahead"), [(0, 3), (0, 9), (3, 9), (5, 4)])
@pytest.mark.parametrize("acceptance", [0.5, 0.8, 0.95])
def test_the_formula_counts_the_rounds_of_a_simulated_draft(acceptance: float, lead: int, ahead: int) -> None:
    dice = random.Random(0)
    cycles, rounds = 20_000, 0
    for _ in range(cycles):
        levels = lead + 1  # the first pass tests the lead and the guess
        while True:
            rounds += 1
            if any(dice.random() >= acceptance for _ in range(levels)):
                break
            levels = ahead
    assert rounds / cycles == pytest.approx(rounds_between_rejections(acceptance, lead, ahead), rel=0.03)


@pytest.mark.parametrize("acceptance", [0.2, 0.6, 0.9, 0.97])
def test_workers_of_their_own_devices_overlap(acceptance: float) -> None:
    assert tempo(acceptance=acceptance).next().ahead > 0


def test_where_both_share_all_cores_they_take_turns() -> None:
    # A step beside a pass costs as much as a step before it, and is thrown away now and then.
    assert tempo(shared=True, contention=1.0).next().ahead == 0
    assert tempo(shared=True, contention=0.0).next().ahead > 0
    assert tempo(shared=True, contention=1.0, always=True).next().ahead == 32


def test_turns_are_short_where_little_is_accepted() -> None:
    leads = [tempo(shared=True, contention=1.0, acceptance=a, row_s=0.002).next().lead for a in (0.02, 0.5, 0.9, 0.97)]
    assert leads == sorted(leads)
    assert leads[0] == 0
    assert leads[-1] >= 6


def test_a_draft_that_was_given_up_gets_another_chance() -> None:
    made = tempo(shared=True, contention=1.0, acceptance=0.02, row_s=0.002)
    plans = []
    for _ in range(60):
        plans.append(made.next())
        made.observe_round(overlapped=False, tested=plans[-1].lead, accepted=0)
    assert plans.count(Plan(1, 0)) in (2, 3)
    assert plans.count(Plan(0, 0)) >= 57


def test_a_cautious_one_never_leads_where_it_overlaps() -> None:
    plan = tempo(cautious=True, acceptance=0.9).next()
    assert plan.lead == 0
    assert plan.ahead > 0
    plan = tempo(cautious=False, acceptance=0.7).next()
    assert plan.lead > 0
    assert plan.ahead > 0


def test_a_fixed_window_stays() -> None:
    for shared, contention in ((False, None), (True, 1.0), (True, 0.0)):
        plan = tempo(widest=5, fixed=True, cautious=True, shared=shared, contention=contention).next()
        assert plan in (Plan(5, 0), Plan(0, 5))


def test_contention_is_measured_in_steps_of_the_draft() -> None:
    made = tempo(shared=True)
    made.observe_pass(1, 0.14, 5)  # five steps of 10 ms made a pass of 100 ms longer by 40 ms
    assert made.contention == pytest.approx(0.8)
    assert made.metrics()["contention"] == pytest.approx(0.8)
