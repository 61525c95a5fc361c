"""Judge the bundled pair on held-out videos: `python -m rushes.demo.evaluate --samples 100 --out FILE`.

What the target and the draft say is compared with the clips' truth, and the draft's value as a draft is measured with
all, a tenth and none of the video. Videos go through the whole pipeline: drawn, written as mp4, read, resized.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from rushes.atomic import whole
from rushes.bench.intervals import interval
from rushes.demo import bundled
from rushes.demo.held_out import HELD_OUT_SEED, held_out_clip, write_clip
from rushes.demo.judge import ATTRIBUTES, Score
from rushes.demo.wording import ask
from rushes.loading import load_model, load_processor
from rushes.pair import Pair
from rushes.progress import quiet_libraries
from rushes.prompting import DEFAULT_PROMPT

VIEWS = ("full", "specvlm", "uniform", "random", "none")
DRAFTERS = ("chain", "tree")


def evaluate(
    target: str, draft: str, samples: int, max_new_tokens: int = 256, dtype: str = "float32"
) -> dict[str, Any]:
    """Run the pair over `samples` held-out clips; returns plain numbers."""
    quiet_libraries()
    processor = load_processor(target)
    big, small = load_model(target, "cpu", dtype), load_model(draft, "cpu", dtype)
    pair, alone = Pair(big, small, processor), Pair(small, None, processor)
    scores = {"target": Score.empty(), "draft": Score.empty()}
    right: dict[str, dict[str, list[bool]]] = {"target": {}, "draft": {}}
    accepted: dict[str, list[float]] = {f"{view}+{drafter}": [] for drafter in DRAFTERS for view in VIEWS}
    identical = 0
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder:
        steps = track(range(samples), "held-out videos", console=console, disable=not console.is_terminal)
        for i in steps:
            clip = held_out_clip(i)
            video = str(write_clip(clip, Path(folder) / "clip.mp4"))
            plain = pair.generate(video, DEFAULT_PROMPT, method="ar", max_new_tokens=max_new_tokens)
            scores["target"].add(plain.text, clip)
            weak = alone.generate(video, DEFAULT_PROMPT, method="ar", max_new_tokens=max_new_tokens)
            scores["draft"].add(weak.text, clip)
            rng = np.random.default_rng((HELD_OUT_SEED, i, 1))
            for _ in range(3):
                sample = ask(clip, rng)
                for name, model in (("target", pair), ("draft", alone)):
                    said = model.generate(video, sample.prompt, method="ar", max_new_tokens=32).text
                    right[name].setdefault(sample.kind, []).append(said.strip() == sample.answer)
            for name, found in accepted.items():
                result = pair.generate(video, method=f"{name}+exact+sequential", max_new_tokens=max_new_tokens)
                found.append(result.metrics["accepted_per_round"])
                identical += result.token_ids == plain.token_ids
    return {
        "samples": samples,
        "dtype": dtype,
        "attribute_f1": {
            name: {"all": score.f1()} | {attribute: score.f1(attribute) for attribute in ATTRIBUTES}
            for name, score in scores.items()
        },
        "short_answers": {
            name: {kind: {"right": sum(r), "asked": len(r)} for kind, r in sorted(kinds.items())}
            for name, kinds in right.items()
        },
        "keep": 0.1,
        "accepted_per_round": {
            name: {"mean": statistics.fmean(found), "interval_95": interval(found)} for name, found in accepted.items()
        },
        "identical_to_plain_decoding": {"answers": identical, "of": samples * len(accepted)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default=bundled.TARGET)
    parser.add_argument("--draft", default=bundled.DRAFT)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    report = json.dumps(evaluate(options.target, options.draft, options.samples, dtype=options.dtype), indent=1)
    print(report)
    if options.out is not None:
        with whole(options.out) as temporary:
            temporary.write_text(report + "\n")


if __name__ == "__main__":
    main()
