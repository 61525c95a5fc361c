"""What working at the same time is worth: overlapping schedules over the same scorer in turns, in one run.

    python -m rushes.bench.overlapping --out results/overlapping.json

Three situations: the stand-in pair on the cores that both models share; the same with a draft that is always wrong;
and two devices, emulated: the bundled pair at its trained size, whose every forward also sleeps for as long as one at
real shapes takes, so that the two "devices" take no time from each other.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from rushes._transformers import transformers
from rushes.atomic import whole
from rushes.bench.planning import here
from rushes.demo import bundled
from rushes.demo.held_out import DEMO_SCENES, DEMO_SECONDS, held_out_clip, write_clip
from rushes.models.base import VideoLM
from rushes.pair import Pair
from rushes.prompting import DEFAULT_PROMPT
from rushes.result import Result
from rushes.scheduling.worker import Worker

# scorer in turns, and what it is compared with
GROUPS: dict[str, tuple[str, ...]] = {
    "uvprune+chain+exact+sequential": ("parallelvlm", "uvprune+chain+exact+pipelined:overlap=always"),
    "hippo+chain+exact+sequential": ("hippo", "hippo+chain+exact+adaptive:overlap=always"),
}
NEW_TOKENS = 120
PREFILL_ROWS = 64  # a forward over more rows is a prefill
# Seconds of a pass and of a prefill. The passes: half of what ParallelVLM reports for Qwen2.5-VL 32B and 7B, the draft
# pruned (`methods.md` section 4: 203 and 40 ms); the prefills are our guess.
EMULATED_S = {"target": (0.1015, 0.600), "draft": (0.020, 0.040)}


def measure(pair: Pair, video: Path, repeats: int) -> list[dict[str, Any]]:
    """Every method in turn, `repeats` times, after a warm-up that is not counted; ratios round by round."""
    names = ["ar", *(name for first, others in GROUPS.items() for name in (first, *others))]
    runs: dict[str, list[Result]] = {name: [] for name in names}
    for repeat in range(repeats + 1):
        for name in names:
            result = pair.generate(str(video), DEFAULT_PROMPT, method=name, max_new_tokens=NEW_TOKENS)
            if repeat:
                runs[name].append(result)
    return [_row(name, runs[name], runs[base], runs["ar"]) for base, name in _compared()]


def _compared() -> Iterator[tuple[str, str]]:
    for base, others in GROUPS.items():
        yield base, base
        for other in others:
            yield base, other


def _row(name: str, mine: Sequence[Result], base: Sequence[Result], plain: Sequence[Result]) -> dict[str, Any]:
    workers = [result.metrics["workers"] for result in mine]
    hidden = [lanes["draft"]["preparation_hidden"] for lanes in workers]
    return {
        "method": name,
        "end_to_end_over_sequential": _ratios(base, mine, "total"),
        "decoding_over_sequential": _ratios(base, mine, "decoding"),
        "end_to_end_over_plain": _ratios(plain, mine, "total"),
        "decoding_over_plain": _ratios(plain, mine, "decoding"),
        "accepted_per_round": statistics.mean(result.metrics["accepted_per_round"] for result in mine),
        "preparation_hidden": None if None in hidden else statistics.median(hidden),
        "idle": {lane: statistics.median(one[lane]["idle"] for one in workers) for lane in ("target", "draft")},
        "discarded_steps": statistics.median(one["draft"]["discarded_steps"] for one in workers),
        "pace": mine[-1].metrics.get("gamma"),
        "identical": all(a.token_ids == b.token_ids for a, b in zip(mine, plain, strict=True)),
    }


def _ratios(before: Sequence[Result], after: Sequence[Result], phase: str) -> dict[str, float]:
    found = [
        (a.metrics["time_s"][phase] / len(a.token_ids)) / (b.metrics["time_s"][phase] / len(b.token_ids))
        for a, b in zip(before, after, strict=True)
    ]
    return {"median": statistics.median(found), "least": min(found), "most": max(found)}


@contextmanager
def changed(model: VideoLM, name: str, new: Callable[..., Any]) -> Iterator[None]:
    """A model with another method for a while; `new` gets the old one first."""
    old = getattr(model, name)
    setattr(model, name, lambda *args, **more: new(old, *args, **more))
    try:
        yield
    finally:
        delattr(model, name)


def contrary(pair: Pair) -> Any:
    """A draft that prefers what it believes least."""
    assert pair.draft is not None
    return changed(pair.draft, "logits", lambda old, hidden: -old(hidden))


@contextmanager
def on_devices(pair: Pair) -> Iterator[None]:
    """Every forward takes as long as one at real shapes, and for most of it no core."""

    def sleeping(role: str) -> Callable[..., Any]:
        seconds, prefill = EMULATED_S[role]

        def forward(old: Callable[..., Any], embeds: torch.Tensor, *args: Any, **more: Any) -> Any:
            until = time.perf_counter() + (prefill if len(embeds) > PREFILL_ROWS else seconds)
            made = old(embeds, *args, **more)
            time.sleep(max(0.0, until - time.perf_counter()))
            return made

        return forward

    assert pair.draft is not None
    with changed(pair.target, "forward", sleeping("target")), changed(pair.draft, "forward", sleeping("draft")):
        yield


def round_trip() -> dict[str, float]:
    """Seconds from handing a worker nothing to do until it is done."""
    worker = Worker(torch.device("cpu"))
    worker.submit(lambda: None).result()
    found = []
    for _ in range(2000):
        started = time.perf_counter()
        worker.submit(lambda: None).result()
        found.append(time.perf_counter() - started)
    return {"median_s": statistics.median(found), "p99_s": statistics.quantiles(found, n=100)[98]}


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/overlapping.json"))
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    busy = here.busy()
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        video = write_clip(held_out_clip(0, DEMO_SCENES, DEMO_SECONDS), Path(folder) / "demo.mp4")
        standins = bundled.standins()
        found["shared cores"] = measure(standins, video, asked.repeats)
        with contrary(standins):
            found["shared cores, a draft that is always wrong"] = measure(standins, video, asked.repeats)
        del standins
        small = bundled.pair()
        with on_devices(small):
            found["two devices, emulated"] = measure(small, video, asked.repeats)
    report = {
        "about": "Overlapping schedules over the same scorer in turns; medians of ratios round by round.",
        "repeats": asked.repeats,
        "new_tokens": NEW_TOKENS,
        "cores": os.cpu_count(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "busy": busy,
        "emulated_s": EMULATED_S,
        "round_trip": round_trip(),
        "rows": found,
    }
    with whole(asked.out) as path:
        path.write_text(json.dumps(report, indent=1) + "\n")
    for situation, rows in found.items():
        print(situation)
        for row in rows:
            print("  ", line(row))
    print("round trip", report["round_trip"])


def line(row: dict[str, Any]) -> str:
    """A row in words."""
    total, decoding = row["end_to_end_over_sequential"], row["decoding_over_sequential"]
    return (
        f"{row['method']:<46} over sequential: end to end {total['median']:.2f}x [{total['least']:.2f}, "
        f"{total['most']:.2f}], decoding {decoding['median']:.2f}x; "
        f"over plain {row['end_to_end_over_plain']['median']:.2f}x; accepted {row['accepted_per_round']:.2f}, "
        f"hidden {row['preparation_hidden']}, identical {row['identical']}"
    )


if __name__ == "__main__":
    main()
