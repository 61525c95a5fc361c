"""The benchmark of this machine, by its arithmetic: what it finds is the machine's own affair."""

import os
import threading
from typing import Any

import pytest
import torch

from rushes.bench.planning import check, here
from rushes.bench.planning.devices import Device
from rushes.result import Result


def test_speeds_from_two_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """One row takes 1 s, many rows 5 s: 4 s are arithmetic."""
    seconds = iter((1.0, 5.0))
    monkeypatch.setattr(here, "_picked_s", lambda _, works, pick=min: [next(seconds) / len(works)] * len(works))
    weights = [torch.zeros(here.ROWS, here.COLUMNS, dtype=torch.bfloat16)] * 3
    numbers = 3 * here.ROWS * here.COLUMNS
    assert here._speeds(weights) == pytest.approx((2 * numbers, 2 * numbers * (here.MANY - 1) / 4))


def test_the_fastest_run_of_each_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    took = iter((9.0, 9.0, 3.0, 1.0, 2.0, 8.0))  # of two works in turn, the first two to warm up

    def work() -> None:
        nonlocal now
        now += next(took)

    monkeypatch.setattr(here.time, "perf_counter", lambda: now)
    assert here._picked_s(2, [work, work]) == [2.0, 1.0]


def test_two_workers_at_once_and_threads_as_before() -> None:
    before = torch.get_num_threads()
    together = threading.Barrier(2, timeout=10)

    def work(part: int) -> tuple[float, float]:
        together.wait()  # passes only if both run at the same time
        return 10.0 * (part + 1), float(torch.get_num_threads())

    torch.set_num_threads(4)
    try:
        assert here._side_by_side(work) == (15.0, 2.0)
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("whole", "kept"), [(1.0, 10.0), (17.0, 17.0), (90.0, 20.0)])
def test_two_halves_bound_the_whole(whole: float, kept: float) -> None:
    assert here._between(whole, 10.0) == kept


def test_overhead_is_split_into_layers_and_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter(((6, 0.0075), (2, 0.0035)))
    monkeypatch.setattr(here, "_step", lambda *_: next(found))
    assert here._overhead("float32", 1e9, 4) == pytest.approx((0.001, 0.0015))


def test_a_whole_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here, "MATRICES", 4)
    monkeypatch.setattr(here, "PASSES", 2)
    device = here.measure("float32")
    assert isinstance(device, Device)
    assert device.half is not None
    assert not device.hides
    assert min(device.bandwidth, device.flops, device.half.bandwidth, device.half.flops) > 0
    assert device.layer_s > 0
    assert device.memory_bytes > 2**28


@pytest.mark.parametrize(("load", "says"), [(0.1, False), (99.0, True)])
def test_busy(monkeypatch: pytest.MonkeyPatch, load: float, says: bool) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    assert bool(here.busy()) == says


class TestCheck:
    """The comparison with real runs, without running any."""

    def test_unknown_methods_are_skipped(self) -> None:
        nonesuch = check.Case("uniform+chain+exact+nonesuch", check.CASES[0].planned)
        assert check.known([nonesuch, check.CASES[0]]) == [check.CASES[0]]

    def test_errors_are_relative_to_the_measurement(self) -> None:
        def result(decoding: float, total: float) -> Any:
            return type("R", (), {"metrics": {"time_s": {"decoding": decoding, "total": total, "decode_video": 1.0}}})

        runs: list[Result] = [result(4.0, 7.0), result(2.0, 5.0), result(9.0, 9.0)]
        seconds = check.times(runs)
        assert seconds == (4.0, 6.0), "medians"
        plan = type(
            "P",
            (),
            {
                "decoding_s": 3.0,
                "total_s": 6.0,
                "speedup_decode": 3.0,
                "speedup_end_to_end": 2.0,
                "mode": "",
                "gamma": 5,
            },
        )
        made = check.row("sd", (4.0, 6.0), (8.0, 12.0), plan)  # type: ignore[arg-type]
        assert made["measured"]["speedup_decode"] == 2.0
        assert made["error"] == pytest.approx(
            {"decoding_s": -0.25, "total_s": 0.0, "speedup_decode": 0.5, "speedup_end_to_end": 0.0}
        )
        assert "measured 2.00 predicted 3.00 (+50%)" in check.line(made)
