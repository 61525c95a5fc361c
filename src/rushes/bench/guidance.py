"""What guidance by the target is worth: `python -m rushes.bench.guidance --samples 30 --out results/guidance.json`.

Inside a serving engine nobody sees the target's attention. Scorers that read it are measured beside scorers that read
nothing of a model, and beside the same scorers reading the draft's own layers, on the same held-out videos: accepted
per round of a chain of 5, which verification does not change.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from torch import Tensor

from rushes.atomic import whole
from rushes.bench.intervals import interval
from rushes.decoding import decode
from rushes.demo import bundled
from rushes.demo.held_out import DEMO_SCENES, DEMO_SECONDS, held_out_clip, write_clip
from rushes.guidance import own_signals
from rushes.methods import method, scorer
from rushes.models.base import Grid, Inputs, VideoLM
from rushes.options import Options
from rushes.pair import Pair
from rushes.progress import quiet_libraries
from rushes.prompting import DEFAULT_PROMPT
from rushes.pruning.base import Scorer
from rushes.pruning.hippo import LocalHippo
from rushes.signals import Signals
from rushes.stats import Stats

KEEPS = (0.05, 0.1)
RECIPE = method("uniform+chain+exact+sequential")
POSITIONS = "reference"  # vLLM's rule

Choose = Callable[[VideoLM, Inputs, float], Tensor]  # draft, inputs, keep -> kept indices


@dataclass(frozen=True, slots=True)
class Way:
    """One way to choose.

    Attributes:
        scorer: Its name.
        reads: What it looks at: "target", "draft" with a number of layers, or "nothing" of either but vision features.
        part: The scorer.
        layers: Of the draft, for those that read it.
    """

    scorer: str
    reads: str
    part: Scorer
    layers: int | None = None


@dataclass(frozen=True, slots=True)
class Fixed(Scorer):
    """Keeps what was chosen before."""

    kept: Tensor

    def score(self, signals: Signals) -> Tensor:
        return self.kept.new_zeros(signals.video_tokens)

    def select(self, scores: Tensor, budget: int, grids: Sequence[Grid] = ()) -> Tensor:
        return self.kept


def ways(depth: int) -> list[Way]:
    """All that are compared, for a draft of so many layers."""
    made = [Way(name, "target", scorer(name)) for name in ("hippo", "specvlm", "uvprune")]
    made += [Way(name, "nothing", scorer(name)) for name in ("none", "full", "uniform", "random")]
    made.append(Way("hippo", "nothing", LocalHippo()))
    for layers in range(1, depth + 1):
        for name in ("hippo", "specvlm", "uvprune"):
            part = scorer(f"uvprune:layers={layers}" if name == "uvprune" else name)
            made.append(Way(name, f"draft, {layers} of {depth} layers", part, layers))
    return made


def choose(way: Way, draft: VideoLM, inputs: Inputs, keep: float) -> Tensor:
    """What a way that does not read the target keeps."""
    features = draft.encode(inputs)
    prompt = draft.prompt(inputs, features, POSITIONS)
    signals = Signals(len(prompt.video_columns), prompt.grids, features=features.video)
    if way.layers is not None:
        signals = own_signals(draft, prompt, features, way.part, way.layers)
    budget = way.part.budget(keep, signals.video_tokens)
    return way.part.select(way.part.score(signals), budget, prompt.grids)


def accepted(pair: Pair, way: Way, inputs: Inputs, keep: float, new_tokens: int) -> tuple[float, tuple[int, ...]]:
    """Accepted per round, and the answer."""
    assert pair.draft is not None, "the bundled pair has a draft"
    part = way.part if way.reads == "target" else Fixed(choose(way, pair.draft, inputs, keep))
    options = Options(keep=keep, max_new_tokens=new_tokens, eos=pair.eos, positions=POSITIONS)
    stats, tokens = Stats(), []
    for progress in decode(pair.target, pair.draft, inputs, replace(RECIPE, scorer=part), options, stats):
        tokens += progress.tokens
    return stats.accepted_per_round, tuple(tokens)


def measure(pair: Pair, samples: int, new_tokens: int = 120) -> list[dict[str, Any]]:
    """One row for each way and keep ratio.

    Raises:
        RuntimeError: Two ways got different answers, which lossless decoding excludes.
    """
    assert pair.draft is not None, "the bundled pair has a draft"
    compared = ways(pair.draft.text_config.num_hidden_layers)
    found: dict[tuple[int, float], list[float]] = {(i, keep): [] for i in range(len(compared)) for keep in KEEPS}
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder:
        for number in track(range(samples), "held-out videos", console=console, disable=not console.is_terminal):
            clip = held_out_clip(number, DEMO_SCENES, DEMO_SECONDS)
            inputs, _ = pair.inputs(write_clip(clip, Path(folder) / f"{number}.mp4"), DEFAULT_PROMPT)
            answers = set()
            for (i, keep), counts in found.items():
                count, answer = accepted(pair, compared[i], inputs, keep, new_tokens)
                counts.append(count)
                answers.add(answer)
            if len(answers) > 1:
                raise RuntimeError(f"held-out video {number} got {len(answers)} different answers")
    return [_row(compared[i], keep, counts, found[0, keep]) for (i, keep), counts in found.items()]


def _row(way: Way, keep: float, counts: list[float], guided: list[float]) -> dict[str, Any]:
    """With what is lost to hippo guided by the target, video by video."""
    beyond = [ours - theirs for ours, theirs in zip(counts, guided, strict=True)]
    return {
        "scorer": way.scorer,
        "reads": way.reads,
        "keep": keep,
        "accepted_per_round": statistics.fmean(counts),
        "interval_95": interval(counts),
        "beyond_guided": statistics.fmean(beyond),
        "beyond_guided_interval_95": interval(beyond),
        "by_sample": counts,
    }


def table(report: dict[str, Any]) -> list[str]:
    """The report as lines of Markdown: a line for each way, a column for each keep ratio."""
    keeps = sorted({row["keep"] for row in report["rows"]})
    lines = [
        "| scorer | what it reads | " + " | ".join(f"keep {keep:g}" for keep in keeps) + " |",
        "|---|---|" + "---|" * len(keeps),
    ]
    for name, reads in dict.fromkeys((row["scorer"], row["reads"]) for row in report["rows"]):
        cells = []
        for row in report["rows"]:
            if (row["scorer"], row["reads"]) == (name, reads):
                low, high = row["beyond_guided_interval_95"]
                beyond = f" ({row['beyond_guided']:+.2f} [{low:+.2f}, {high:+.2f}])"
                guided = (name, reads) == ("hippo", "target")
                cells.append(f"{row['accepted_per_round']:.2f}{'' if guided else beyond}")
        lines.append(f"| `{name}` | {reads} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path("results/guidance.json"))
    options = parser.parse_args()
    quiet_libraries()
    rows = measure(bundled.pair(), options.samples)
    report = {"samples": options.samples, "chain": 5, "dtype": "float32", "rows": rows}
    with whole(options.out) as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n")
    print("\n".join(table(report)))


if __name__ == "__main__":
    main()
