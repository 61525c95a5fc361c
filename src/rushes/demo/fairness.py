"""All scorers and the controls side by side: a scorer without its controls beside it proves nothing."""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rushes.bench.intervals import interval
from rushes.bench.tables import Say, print_table
from rushes.demo.held_out import DEMO_SCENES, DEMO_SECONDS, held_out_clip, write_clip
from rushes.methods import SCORERS
from rushes.pair import Pair
from rushes.prompting import DEFAULT_PROMPT

KEEPS = (0.05, 0.1, 0.2, 0.5)
BOUNDS = ("full", "none")  # whatever the budget
CONTROLS = (*BOUNDS, "uniform", "random")


@dataclass(frozen=True, slots=True)
class Cell:
    """Accepted tokens per round of one scorer at one keep ratio.

    Attributes:
        keep: None for scorers that have no budget.
        accepted_per_round: One value for each sample.
    """

    scorer: str
    keep: float | None
    accepted_per_round: list[float]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.accepted_per_round)

    @property
    def interval_95(self) -> tuple[float, float]:
        """Of the mean."""
        return interval(self.accepted_per_round)


def scorers() -> list[str]:
    """Every scorer that chooses for a draft, the controls first."""
    others = [name for name, scorer in SCORERS.items() if name not in CONTROLS and not scorer().per_layer]
    return [*CONTROLS, *others]


def compare_scorers(
    pair: Pair,
    samples: int,
    *,
    keeps: Sequence[float] = KEEPS,
    max_new_tokens: int = 120,
    each: Callable[[], None] = lambda: None,
) -> list[Cell]:
    """Let every scorer choose for the draft on the same held-out videos; a chain of 5, greedy.

    Args:
        pair: The bundled pair.
        samples: Videos, from held-out number 0 on.
        keeps: Shares of the video tokens.
        each: Called after each answer.

    Raises:
        RuntimeError: Two scorers got different answers, which lossless decoding excludes.
    """
    cells = [Cell(name, keep, []) for name in scorers() for keep in ((None,) if name in BOUNDS else keeps)]
    with tempfile.TemporaryDirectory() as folder:
        for number in range(samples):
            clip = held_out_clip(number, DEMO_SCENES, DEMO_SECONDS)
            inputs, _ = pair.inputs(write_clip(clip, Path(folder) / f"{number}.mp4"), DEFAULT_PROMPT)
            answers = set()
            for cell in cells:
                result = pair.generate_inputs(
                    inputs,
                    method=f"{cell.scorer}+chain+exact+sequential",
                    keep=1.0 if cell.keep is None else cell.keep,
                    max_new_tokens=max_new_tokens,
                )
                cell.accepted_per_round.append(result.metrics["accepted_per_round"])
                answers.add(tuple(result.token_ids))
                each()
            if len(answers) > 1:
                raise RuntimeError(f"held-out video {number} got {len(answers)} different answers")
    return cells


def answers_of(samples: int) -> int:
    """How many answers `compare_scorers` gives."""
    return samples * sum(1 if name in BOUNDS else len(KEEPS) for name in scorers())


def beyond(cell: Cell, control: Cell) -> tuple[float, tuple[float, float]]:
    """What a scorer adds to a control on the same videos: mean difference and its 95 % interval.

    Video by video: videos differ far more from each other than scorers do.
    """
    pairs = zip(cell.accepted_per_round, control.accepted_per_round, strict=True)
    differences = [ours - theirs for ours, theirs in pairs]
    return statistics.fmean(differences), interval(differences)


def print_scorers(cells: list[Cell], say: Say) -> None:
    """Two tables, a line for each scorer and a column for each keep ratio: counts, and what lies beyond uniform."""
    keeps = sorted({cell.keep for cell in cells if cell.keep is not None})
    by_name: dict[str, dict[float | None, Cell]] = {}
    for cell in cells:
        by_name.setdefault(cell.scorer, {})[cell.keep] = cell

    def at(name: str, keep: float) -> Cell:
        return by_name[name].get(keep) or by_name[name][None]

    def line(name: str, words: Callable[[Cell, float], str]) -> list[str]:
        label = f"{name} (control)" if name in CONTROLS else name
        return [label, *(words(at(name, keep), keep) for keep in keeps)]

    def more(cell: Cell, keep: float) -> str:
        mean, spread = beyond(cell, at("uniform", keep))
        return f"{mean:+.2f} [{spread[0]:+.2f}, {spread[1]:+.2f}]"

    count = len(cells[0].accepted_per_round)
    say(f"Accepted per round (a chain of 5), mean [95 % interval] over {count} held-out videos; all answers agree.")
    _print(keeps, [line(name, lambda cell, _: _words(cell)) for name in by_name], say)
    say("\nBeyond uniform at the same keep, video by video: an interval around 0 has not shown more than the control.")
    _print(keeps, [line(name, more) for name in by_name if name != "uniform"], say)


def _print(keeps: list[float], rows: list[list[str]], say: Say) -> None:
    print_table(("scorer", *(f"keep {keep:g}" for keep in keeps)), rows, say)


def _words(cell: Cell) -> str:
    low, high = cell.interval_95
    return f"{cell.mean:.2f} [{low:.2f}, {high:.2f}]"


def as_json(cells: list[Cell]) -> list[dict[str, Any]]:
    """For results.json."""
    control = {cell.keep: cell for cell in cells if cell.scorer == "uniform"}
    made = []
    for cell in cells:
        row: dict[str, Any] = {
            "scorer": cell.scorer,
            "keep": cell.keep,
            "accepted_per_round": cell.mean,
            "interval_95": cell.interval_95,
            "samples": len(cell.accepted_per_round),
            "by_sample": cell.accepted_per_round,
        }
        if cell.keep is not None:
            row["beyond_uniform"], row["beyond_uniform_interval_95"] = beyond(cell, control[cell.keep])
        made.append(row)
    return made
