"""From the lines of a sweep to `results/front.json`: lambda is chosen on some videos and reported on others."""

import json
import os
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from rushes._transformers import transformers
from rushes.atomic import whole
from rushes.bench.intervals import interval
from rushes.bench.retention import difference, retention
from rushes.demo.facts import FACTS, Count, Facts, total
from rushes.demo.front_settings import LAMBDAS, PLAIN, QUESTIONED, SETTINGS, Setting, control, lvspec
from rushes.errors import RushesError

ENOUGH = 0.998  # of the target's score: what LVSpec's paper keeps


def report(folder: Path, out: Path) -> None:
    """Read what `answers` and `speeds` left in `folder`; write `out` and the picture beside it.

    Raises:
        RushesError: A step has not run.
    """
    validation, test = (_lines(folder, f"{name}-*.jsonl") for name in ("validation", "test"))
    speeds = folder / "speeds.json"
    timed = json.loads(speeds.read_text()) if speeds.exists() else None
    made = {
        "about": "Loose verification on the bundled pair in fp32; speeds on the stand-ins in bf16, over plain.",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "cores": os.cpu_count(),
        "keeps_enough": ENOUGH,
        "validation": choose(validation),
        "test": {
            "videos": len(test),
            "plain": {name: _parts(_of(test, PLAIN), name) for name in FACTS},
            "rows": [_row(setting, test, timed) for setting in SETTINGS],
            "beyond_random": _beyond(test),
            "questions": _questions(test),
        },
        "timed": None if timed is None else {"videos": timed["videos"], "repeats": timed["repeats"]},
    }
    with whole(out) as path:
        path.write_text(json.dumps(made, indent=1) + "\n")
    from rushes.demo.front_picture import draw

    draw(made, out.with_suffix(".png"))


def choose(videos: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The largest lambda that keeps enough, and so does every smaller one that was tried."""
    rows = []
    for share in LAMBDAS:
        kept = retention(_of(videos, lvspec(share)), _of(videos, PLAIN), _score)
        rows.append({"lambda": share, "retention": kept.to_json()})
    chosen = 0.0
    for row in rows:
        if row["retention"]["value"] < ENOUGH:  # type: ignore[index]
            break
        chosen = float(row["lambda"])  # type: ignore[arg-type]
    return {"videos": len(videos), "lambda": chosen, "rows": rows}


def _lines(folder: Path, pattern: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for path in sorted(folder.glob(pattern)) for line in path.read_text().splitlines()]
    if not found:
        raise RushesError(f"nothing to report: {folder} holds no {pattern}; run `answers` first")
    return [line for _, line in sorted({line["video"]: line for line in found}.items())]  # parts may overlap


def _of(videos: Sequence[dict[str, Any]], setting: Setting) -> list[Facts]:
    return [{n: Count(*c) for n, c in video["rows"][setting.name]["facts"].items()} for video in videos]


def _score(many: Sequence[Facts]) -> float:
    return total(many).f1


def _parts(many: Sequence[Facts], name: str) -> dict[str, float]:
    count = sum((facts[name] for facts in many), Count())
    return {"precision": count.precision, "recall": count.recall, "f1": count.f1}


def _row(setting: Setting, videos: Sequence[dict[str, Any]], timed: dict[str, Any] | None) -> dict[str, Any]:
    lines = [video["rows"][setting.name] for video in videos]
    ours = _of(videos, setting)
    accepted = [line["accepted_per_round"] for line in lines]
    made: dict[str, Any] = {
        "name": setting.name,
        "curve": setting.curve,
        "method": setting.method,
        "keep": setting.keep,
        "knob": setting.knob,
        "f1": _score(ours),
        "attributes": {name: _parts(ours, name) for name in FACTS},
        "retention": retention(ours, _of(videos, PLAIN), _score).to_json(),
        "accepted_per_round": {"mean": statistics.fmean(accepted), "interval_95": interval(accepted)},
        "tokens_per_pass": sum(one["tokens"] for one in lines) / sum(1 + one["target_passes"] for one in lines),
        "identical": statistics.fmean(line["identical"] for line in lines),
        "agreement": statistics.fmean(line["agreement"] for line in lines),
        "relaxed_share": sum(line["relaxed"] + line["shifted"] for line in lines) / sum(o["tokens"] for o in lines),
    }
    if timed is not None:
        spent = timed["rows"][setting.name]
        for name in ("speedup_decode", "speedup_end_to_end"):
            made[name] = {"median": statistics.median(spent[name]), "range": [min(spent[name]), max(spent[name])]}
        made["accepted_per_round_timed"] = statistics.fmean(spent["accepted_per_round"])
        made["relevance_share"] = statistics.median(spent["relevance_share"])
    return made


def _beyond(videos: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What relevance keeps beyond relaxing as many candidates at random."""
    made = []
    for setting in SETTINGS:
        other = None if setting.curve != "lvspec" or setting.knob is None else control(setting.knob, setting.keep)
        if other in SETTINGS:
            gap, spread = difference(_of(videos, setting), _of(videos, other), _of(videos, PLAIN), _score)
            made.append({"lambda": setting.knob, "keep": setting.keep, "retention": gap, "interval_95": spread})
    return made


def _questions(videos: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Accuracy of short answers and of multiple choice, and how many answers are the same as plain decoding's."""
    asked = [question for video in videos for question in video.get("questions", [])]

    def share(setting: Setting, test: Callable[[dict[str, Any], str], bool], choice: bool) -> float:
        chosen = [one for one in asked if (one["kind"] == "choice") == choice]
        return statistics.fmean(test(one, one["said"][setting.name]) for one in chosen) if chosen else 0.0

    made: dict[str, Any] = {
        "asked": {
            "short": sum(one["kind"] != "choice" for one in asked),
            "choice": sum(one["kind"] == "choice" for one in asked),
        }
    }
    for setting in QUESTIONED:
        made[setting.name] = {
            f"{kind}_{what}": share(setting, test, kind == "choice")
            for kind in ("short", "choice")
            for what, test in (
                ("accuracy", lambda one, said: said == one["answer"]),
                ("same", lambda one, said: said == one["said"][PLAIN.name]),
            )
        }
    return made
