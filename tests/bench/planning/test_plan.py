"""The search: what comes out best where it is known what must."""

from dataclasses import replace

import pytest
from test_roofline import BENCHMARKED

from rushes.bench.planning import shapes
from rushes.bench.planning.acceptance import Trace, geometric
from rushes.bench.planning.devices import Device, named
from rushes.bench.planning.limits import DISCARDED, SHARED, WAITING, describe
from rushes.bench.planning.plan import METHODS, Method, Prediction, best, fixed, predict
from rushes.bench.planning.request import How
from rushes.bench.planning.roofline import KV, OVERHEAD, WEIGHTS
from rushes.bench.planning.workload import Setting, Workload, tree_rows
from rushes.errors import RushesError

QWEN = (shapes.find("Qwen/Qwen2.5-VL-32B-Instruct"), shapes.find("Qwen/Qwen2.5-VL-3B-Instruct"))
FAST_HOST = Device("fast host", bandwidth=1.6e12, flops=2e14, memory_bytes=80e9, layer_s=1e-5)


def setting(device: Device = FAST_HOST, devices: int = 1, video: int = 20_000, new: int = 200) -> Setting:
    return Setting(*QWEN, device, devices, "bfloat16", Workload(video, 100, new))


def rows(of: Setting, chance: float, *names: str, keeps: tuple[float, ...] = (0.1,)) -> dict[str, Prediction]:
    made = predict(of, lambda _: geometric(chance), keeps, [one for one in METHODS if one.name in names])
    return {row.method: row for row in made}


def test_plain_decoding_is_the_yardstick() -> None:
    plain = rows(setting(), 0.8)["ar"]
    assert plain.speedup_decode == plain.speedup_end_to_end == 1
    assert plain.decoding_s == pytest.approx(199 * plain.target_pass_s)
    assert next(iter(plain.limits)) == WEIGHTS
    # 65 GB of weights and 5 GB of cache at 1.6 TB/s.
    assert plain.target_pass_s == pytest.approx((2 * 32.0e9 + 20_200 * 262_144) / 1.6e12, rel=0.02)


def test_a_useless_draft_leaves_plain_decoding_best() -> None:
    made = predict(setting(), lambda _: Trace((99,)), (0.1,))
    assert best(made) == 0
    assert all(row.speedup_decode < 1.001 for row in made)


def test_a_perfect_draft_wants_the_widest_windows() -> None:
    made = rows(setting(), 1.0, "sd")["sd"]
    assert made.gamma is not None
    assert made.gamma >= 8
    assert made.accepted_per_round == pytest.approx(made.gamma, rel=0.07)  # the last window is cut short


def test_the_best_gamma_grows_with_acceptance() -> None:
    gammas = [rows(setting(), chance, "sd")["sd"].gamma or 0 for chance in (0.3, 0.6, 0.9)]
    assert gammas[0] < gammas[1] < gammas[2]


def test_two_devices_beat_one_that_is_shared() -> None:
    alone = rows(setting(devices=1), 0.8, "parallelvlm")["parallelvlm"]
    apart = rows(setting(devices=2), 0.8, "parallelvlm")["parallelvlm"]
    in_turn = rows(setting(devices=2), 0.8, "uniform+chain+exact+sequential")["uniform+chain+exact+sequential"]
    assert apart.speedup_end_to_end > 1.04 * alone.speedup_end_to_end
    assert apart.speedup_decode > in_turn.speedup_decode
    assert SHARED not in apart.limits
    # Where overlap is not a choice: both stream weights for most of the time.
    always = Method("always", How(gamma=5, overlap=True, ready="early"), "pipelined")
    shared, own = (fixed(setting(devices=devices), geometric(0.8), always, 0.1) for devices in (1, 2))
    assert own.speedup_decode > 1.2 * shared.speedup_decode
    assert shared.limits[SHARED] > 0.15


def test_pruning_pays_by_the_cache_that_is_not_read() -> None:
    of = setting(video=200_000)
    made = rows(of, 0.8, "uniform+chain+exact+sequential", keeps=(0.1, 1.0))["uniform+chain+exact+sequential"]
    assert made.keep == 0.1
    full = predict(of, lambda _: geometric(0.8), (1.0,), [Method("full", How())])[1]
    assert made.draft_step_s < 0.6 * full.draft_step_s
    assert KV in made.limits


def test_a_better_draft_may_be_worth_a_longer_context() -> None:
    made = predict(
        setting(video=2000),
        lambda keep: geometric(0.9 if keep == 1 else 0.3),
        (0.1, 1.0),
        [one for one in METHODS if one.name == "uniform+chain+exact+sequential"],
    )[1]
    assert made.keep == 1


def test_shared_cores_take_turns() -> None:
    """On 2 cores what one worker takes the other loses, and a window in vain costs the target its time."""
    demo = Setting(shapes.demo("target"), shapes.demo("draft"), BENCHMARKED, 1, "bfloat16", Workload(288, 25, 120))
    made = rows(demo, 0.8, "parallelvlm", "hippo", "uniform+chain+exact+sequential")
    assert made["parallelvlm"].mode == made["hippo"].mode == "taking turns"
    in_turn = made["uniform+chain+exact+sequential"]
    assert made["hippo"].total_s == pytest.approx(in_turn.total_s, rel=0.03)


def test_limits_are_shares_that_say_why() -> None:
    for device in (FAST_HOST, named("H100", "bfloat16"), BENCHMARKED):
        for row in predict(replace(setting(), device=device), lambda _: geometric(0.7), (0.1,)):
            assert sum(row.limits.values()) == pytest.approx(1)
            assert list(row.limits.values()) == sorted(row.limits.values(), reverse=True)
            assert describe(row.limits)
    slow_host = replace(FAST_HOST, layer_s=5e-3)
    assert next(iter(rows(setting(slow_host), 0.7)["ar"].limits)) == OVERHEAD
    in_turn = rows(setting(), 0.9, "sd")["sd"]
    assert in_turn.limits[WAITING] == pytest.approx(1 - in_turn.busy["target"], abs=0.01)
    apart = predict(setting(devices=2), lambda _: geometric(0.2), (0.1,), [Method("p", How(overlap=True), "pipelined")])
    assert apart[1].limits.get(DISCARDED, 0) > 0.5 or apart[1].mode == "taking turns"


def test_long_answers_go_on_at_their_speed() -> None:
    short, long = (rows(setting(new=new), 0.8, "sd")["sd"] for new in (2048, 20_480))
    assert long.tokens_per_second == pytest.approx(short.tokens_per_second, rel=0.06)  # the cache is longer
    assert long.decoding_s > 9.5 * short.decoding_s


def test_rows_of_the_static_tree() -> None:
    assert tree_rows(False) == (1,)
    assert tree_rows(True) == (1, 4, 4, 1, 1)


class TestMemory:
    def test_what_is_missing_is_said(self) -> None:
        gpu = named("A100-80", "bfloat16")
        assert setting(gpu, devices=2).missing_memory() is None
        shared = setting(gpu, video=60_000).missing_memory()
        assert shared is not None
        assert "the pair needs" in shared
        big = setting(named("L40S", "bfloat16"), devices=2).missing_memory()
        assert big is not None
        assert "the target needs" in big
        assert "draft" not in big

    def test_by_hand(self) -> None:
        one = Device("one", 1e12, 1e14, memory_bytes=2**30)
        lacking = setting(one, devices=2, video=0).missing_memory()
        needed = (2 * QWEN[0].parameters + 300 * QWEN[0].kv_bytes(2)) / 2**30
        assert lacking is not None
        assert f"{needed:.1f} GiB, {needed - 1:.1f} GiB too many" in lacking


class TestWorkload:
    @pytest.mark.parametrize("sizes", [(-1, 10, 10), (10, 0, 10), (10, 10, 1)])
    def test_what_cannot_be(self, sizes: tuple[int, int, int]) -> None:
        with pytest.raises(RushesError, match="or more, got"):
            Workload(*sizes)

    def test_devices(self) -> None:
        for devices in (0, 3):
            with pytest.raises(RushesError, match="must be 1"):
                setting(devices=devices)
        with pytest.raises(RushesError, match="this machine was"):
            setting(BENCHMARKED, devices=2)

    def test_a_blind_draft_and_no_video(self) -> None:
        assert setting().costs(0.0).draft_vision.seconds == 0
        assert setting(video=0).costs(0.5).target_vision.seconds == 0
