"""Speed against quality of loose verification on the bundled pair: `python -m rushes.demo.front --help`.

Three steps, each its own command; `answers` goes on where it was interrupted:

    answers   the pair answers held-out videos under every setting, in fp32; one line of JSON for each video
    speeds    the same settings timed on the stand-in pair, interleaved
    report    lambda chosen on the validation videos, everything else reported on the others: results/front.json, .png
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from rushes.bench.journal import whole_lines
from rushes.demo import bundled
from rushes.demo.facts import facts_of
from rushes.demo.front_report import report
from rushes.demo.front_settings import PLAIN, QUESTIONED, SETTINGS, VALIDATED, Setting
from rushes.demo.held_out import DEMO_SCENES, DEMO_SECONDS, HELD_OUT_SEED, held_out_clip, write_clip
from rushes.demo.wording import Sample, ask
from rushes.pair import Pair
from rushes.progress import quiet_libraries
from rushes.prompting import DEFAULT_PROMPT
from rushes.result import Result

VALIDATION_FROM = 10_000  # numbers of held-out videos; the test videos start at 0
NEW_TOKENS = 256


def answers(out: Path, numbers: range, settings: tuple[Setting, ...], questions: bool) -> None:
    """Append a line for each video that `out` does not hold yet."""
    done = {json.loads(line)["video"] for line in whole_lines(out)}
    pair = bundled.pair()
    console = Console(stderr=True)
    left = [number for number in numbers if number not in done]
    with tempfile.TemporaryDirectory() as folder, out.open("a") as lines:
        for number in track(left, "videos", console=console, disable=not console.is_terminal):
            lines.write(json.dumps(_answer(pair, Path(folder), number, settings, questions)) + "\n")
            lines.flush()


def _answer(pair: Pair, folder: Path, number: int, settings: tuple[Setting, ...], questions: bool) -> dict[str, Any]:
    clip = held_out_clip(number)
    video = write_clip(clip, folder / "clip.mp4")
    inputs, _ = pair.inputs(video, DEFAULT_PROMPT)
    plain: list[int] = []
    rows: dict[str, Any] = {}
    for setting in settings:
        result = _run(pair, inputs, setting)
        plain = result.token_ids if setting is PLAIN else plain
        found = facts_of(result.text, clip)
        rows[setting.name] = {
            "facts": {name: [count.claimed, count.true, count.right] for name, count in found.items()},
            "accepted_per_round": result.metrics["accepted_per_round"],
            "target_passes": result.metrics["target_passes"],
            "tokens": len(result.token_ids),
            "identical": result.token_ids == plain,
            "agreement": SequenceMatcher(None, result.token_ids, plain, autojunk=False).ratio(),
            "relaxed": result.metrics["verification"]["relaxed"],
            "shifted": result.metrics["verification"]["shifted"],
        }
    row: dict[str, Any] = {"video": number, "rows": rows}
    if questions:
        rng = np.random.default_rng((HELD_OUT_SEED, number, 2))
        row["questions"] = [_questions(pair, video, ask(clip, rng)) for _ in range(2)]
    return row


def _questions(pair: Pair, video: Path, sample: Sample) -> dict[str, Any]:
    inputs, _ = pair.inputs(video, sample.prompt)
    said = {setting.name: _run(pair, inputs, setting).text.strip() for setting in QUESTIONED}
    return {"kind": sample.kind, "answer": sample.answer, "said": said}


def _run(pair: Pair, inputs: Any, setting: Setting) -> Result:
    return pair.generate_inputs(inputs, method=setting.method, keep=setting.keep, max_new_tokens=NEW_TOKENS)


def speeds(out: Path, videos: int, repeats: int) -> None:
    """Decoding speed of every setting over plain decoding's in the same round, on the stand-in pair."""
    pair = bundled.standins()
    found: dict[str, dict[str, list[float]]] = {setting.name: {} for setting in SETTINGS}
    with tempfile.TemporaryDirectory() as folder:
        for result, setting, plain in _timed(pair, Path(folder), videos, repeats):
            for name, value in {
                "speedup_decode": _per_token(plain, "decoding") / _per_token(result, "decoding"),
                "speedup_end_to_end": _per_token(plain, "total") / _per_token(result, "total"),
                "accepted_per_round": result.metrics["accepted_per_round"],
                "relevance_share": result.metrics["verification"].get("relevance_time_s", 0.0)
                / result.metrics["time_s"]["decoding"],
            }.items():
                found[setting.name].setdefault(name, []).append(value)
    out.write_text(json.dumps({"videos": videos, "repeats": repeats, "rows": found}) + "\n")


def _timed(pair: Pair, folder: Path, videos: int, repeats: int) -> Iterator[tuple[Result, Setting, Result]]:
    for number in range(videos):
        video = write_clip(held_out_clip(number, DEMO_SCENES, DEMO_SECONDS), folder / f"{number}.mp4")
        inputs, _ = pair.inputs(video, DEFAULT_PROMPT)
        for repeat in range(repeats + (number == 0)):  # the very first round is a warm-up
            plain = _run(pair, inputs, PLAIN)
            for setting in SETTINGS:
                result = plain if setting is PLAIN else _run(pair, inputs, setting)
                if repeat or number:
                    yield result, setting, plain


def _per_token(result: Result, phase: str) -> float:
    return float(result.metrics["time_s"][phase]) / max(1, len(result.token_ids) - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    for name in ("answers", "speeds", "report"):
        step = steps.add_parser(name)
        step.add_argument("--folder", type=Path, default=Path("front-out"), help="Where the steps leave their lines.")
        step.add_argument("--validation", type=int, default=100, help="Videos on which lambda is chosen.")
        step.add_argument("--test", type=int, default=200, help="Videos on which everything is reported.")
        step.add_argument("--only", choices=("validation", "test"), help="One set of videos.")
        step.add_argument("--part", default="0/1", help="I/N: this process takes every Nth video from I on.")
        step.add_argument("--repeats", type=int, default=2)
        step.add_argument("--videos", type=int, default=3, help="Timed ones.")
        step.add_argument("--out", type=Path, default=Path("results/front.json"))
    asked = parser.parse_args()
    quiet_libraries()
    asked.folder.mkdir(parents=True, exist_ok=True)
    part, parts = (int(number) for number in asked.part.split("/"))
    if asked.step == "answers":
        first = VALIDATION_FROM + part
        if asked.only != "test":
            numbers = range(first, VALIDATION_FROM + asked.validation, parts)
            answers(asked.folder / f"validation-{part}.jsonl", numbers, VALIDATED, False)
        if asked.only != "validation":
            answers(asked.folder / f"test-{part}.jsonl", range(part, asked.test, parts), SETTINGS, True)
    elif asked.step == "speeds":
        speeds(asked.folder / "speeds.json", asked.videos, asked.repeats)
    else:
        report(asked.folder, asked.out)


if __name__ == "__main__":
    main()
