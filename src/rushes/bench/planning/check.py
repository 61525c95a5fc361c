"""The stand-in pair run for real on this machine, beside what `rushes plan` says of it: `results/plan.json`.

    python -m rushes.bench.planning.check --out results/plan.json

Costs come from the benchmark of this machine and acceptance from the runs themselves, so that an error is one of the
roofline or of the simulated schedule. Methods that this version does not know are skipped.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from rushes._transformers import transformers
from rushes.atomic import whole
from rushes.bench.planning import here, papers, shapes
from rushes.bench.planning.acceptance import TREE_DEPTH, geometric, tree_paths
from rushes.bench.planning.devices import Device
from rushes.bench.planning.plan import Method, Prediction, Setting, fixed, predict
from rushes.bench.planning.request import How
from rushes.bench.planning.trace_file import of_result
from rushes.bench.planning.workload import Workload
from rushes.demo import bundled
from rushes.demo.held_out import DEMO_SCENES, DEMO_SECONDS, held_out_clip, write_clip
from rushes.errors import RushesError
from rushes.methods import method
from rushes.pair import Pair
from rushes.prompting import DEFAULT_PROMPT
from rushes.result import Result

KEEP = 0.1
NEW_TOKENS = 120
WITHIN = 0.2


@dataclass(frozen=True, slots=True)
class Case:
    """A method to run, and the same for the planner; without a gamma the planner searches as the schedule does."""

    name: str
    planned: Method
    gamma: int | None = None


CHAIN, TREE = How(gamma=5), How(gamma=TREE_DEPTH, tree=tree_paths())
CASES = (
    Case("sd", Method("sd", CHAIN, pruned=False), 5),
    Case("specvlm", Method("specvlm", TREE), TREE_DEPTH),
    Case("uniform+chain+exact+sequential", Method("uniform sequential", CHAIN), 5),
    # Overlap whatever it costs: the only one here whose windows hang on nothing but the trace.
    Case(
        "uniform+chain+exact+pipelined:overlap=always",
        Method("uniform always overlapped", How(gamma=5, overlap=True, ready="vision"), "pipelined"),
        5,
    ),
    Case("uvprune+chain+exact+pipelined", Method("parallelvlm", How(overlap=True, ready="early"), "pipelined")),
    Case("hippo+chain+exact+adaptive", Method("hippo", How(overlap=True), "adaptive")),
)


def run_cases(
    pair: Pair, video: Path, cases: Sequence[Case], repeats: int, between: Callable[[], None] = lambda: None
) -> dict[str, list[Result]]:
    """Every method in turn, `repeats` times, after one run of each that is not counted; `between` after each round."""
    runs: dict[str, list[Result]] = {"ar": [], **{case.name: [] for case in cases}}
    gammas = {"ar": None, **{case.name: case.gamma for case in cases}}
    for repeat in range(repeats + 1):
        for name, results in runs.items():
            result = pair.generate(
                str(video), DEFAULT_PROMPT, method=name, gamma=gammas[name], keep=KEEP, max_new_tokens=NEW_TOKENS
            )
            if repeat:
                results.append(result)
        between()
    return runs


def typical(devices: Sequence[Device]) -> Device:
    """The median of each figure of a machine that was measured several times."""

    def of(some: Sequence[Device], half: Device | None) -> Device:
        def median(name: str) -> float:
            return statistics.median(getattr(device, name) for device in some)

        bandwidth, flops = median("bandwidth"), median("flops")
        layer_s, pass_s = median("layer_s"), median("pass_s")
        return replace(some[0], bandwidth=bandwidth, flops=flops, layer_s=layer_s, pass_s=pass_s, half=half)

    halves = [device.half for device in devices if device.half is not None]
    return of(devices, of(halves, None) if halves else None)


def times(results: Sequence[Result]) -> tuple[float, float]:
    """Seconds of decoding, and of the whole without reading the video file: medians, as in the benchmark."""
    spent = [result.metrics["time_s"] for result in results]
    decoding = statistics.median(one["decoding"] for one in spent)
    return decoding, statistics.median(one["total"] - one["decode_video"] for one in spent)


def predicted(case: Case, setting: Setting, result: Result) -> Prediction:
    """What the planner says of a case, with the acceptance that its run had."""
    trace = of_result(result.to_json(), case.name)
    keep = KEEP if case.planned.pruned else 1.0
    if case.gamma is not None:
        return fixed(setting, trace, case.planned, keep)
    return predict(setting, lambda _: trace, (keep,), (case.planned,))[1]


def plain_of(setting: Setting) -> Prediction:
    """What the planner says of plain decoding, for which no draft counts."""
    return predict(setting, lambda _: geometric(0.0), (), ())[0]


def row(name: str, seconds: tuple[float, float], plain: tuple[float, float], plan: Prediction) -> dict[str, Any]:
    """Measured beside predicted; errors are of the prediction, relative to the measurement."""
    found = {
        "decoding_s": (seconds[0], plan.decoding_s),
        "total_s": (seconds[1], plan.total_s),
        "speedup_decode": (plain[0] / seconds[0], plan.speedup_decode),
        "speedup_end_to_end": (plain[1] / seconds[1], plan.speedup_end_to_end),
    }
    return {
        "method": name,
        "mode": plan.mode,
        "gamma": plan.gamma,
        "measured": {what: measured for what, (measured, _) in found.items()},
        "predicted": {what: value for what, (_, value) in found.items()},
        "error": {what: value / measured - 1 for what, (measured, value) in found.items()},
    }


def known(cases: Sequence[Case]) -> list[Case]:
    """Those whose method this version has."""

    def exists(name: str) -> bool:
        try:
            method(name)
        except RushesError:
            return False
        return True

    return [case for case in cases if exists(case.name)]


def main() -> None:
    """Benchmark, run, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/plan.json"))
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    busy = here.busy()
    pair = bundled.standins()
    with tempfile.TemporaryDirectory() as folder:
        video = write_clip(held_out_clip(0, DEMO_SCENES, DEMO_SECONDS), Path(folder) / "demo.mp4")
        cases = known(CASES)
        # Measured between the runs: neighbours come and go on a shared machine, and a clock is slower under load.
        devices: list[Device] = []
        measure = partial(here.measure, "bfloat16", statistics.median)
        runs = run_cases(pair, video, cases, asked.repeats, lambda: devices.append(measure()))
        device = typical(devices)
        inputs, _ = pair.inputs(str(video), DEFAULT_PROMPT)
        tokens, video_tokens = pair.target.count(inputs)
    load = Workload(video_tokens, tokens - video_tokens, len(runs["ar"][0].token_ids))
    setting = Setting(shapes.demo("target"), shapes.demo("draft"), device, 1, "bfloat16", load)
    plain = times(runs["ar"])
    rows = [row("ar", plain, plain, plain_of(setting))]
    for case in cases:
        # Near ties of bf16 may fall another way under another schedule, and the answer then has another length.
        length = len(runs[case.name][0].token_ids)
        plan = predicted(case, replace(setting, workload=replace(load, new_tokens=length)), runs[case.name][0])
        rows.append(row(case.name, times(runs[case.name]), plain, plan))
    report = {
        "about": "Measured runs of the stand-in pair beside what `rushes plan` predicts; medians of runs and machine.",
        "within": WITHIN,
        "repeats": asked.repeats,
        "cores": os.cpu_count(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "busy": busy,
        "device": {"bandwidth": device.bandwidth, "flops": device.flops, "layer_s": device.layer_s},
        "rows": rows,
        "papers": [claim.to_json() for claim in papers.CLAIMS],
    }
    with whole(asked.out) as path:
        path.write_text(json.dumps(report, indent=1) + "\n")
    for one in rows:
        print(line(one))


def line(one: dict[str, Any]) -> str:
    """A row in words."""
    shown = [
        f"{what} measured {measured:.2f} predicted {one['predicted'][what]:.2f} ({one['error'][what]:+.0%})"
        for what, measured in one["measured"].items()
    ]
    return f"{one['method']:<46} {'; '.join(shown)}"


if __name__ == "__main__":
    main()
