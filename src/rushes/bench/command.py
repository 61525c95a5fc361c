"""What `rushes bench` does, from a list of trials and questions to the report."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from rushes.bench.growth import growth
from rushes.bench.journal import Journal
from rushes.bench.measuring import PairBench
from rushes.bench.outcome import machine, publish, report, save
from rushes.bench.runner import run
from rushes.bench.tables import Say, print_rows
from rushes.bench.trial import Question, Trial
from rushes.errors import RushesError
from rushes.pair import Pair

TITLE = "rushes bench"
SHOWN = 6  # timelines in the report at most


def measure(
    pair: Pair,
    trials: Sequence[Trial],
    questions: Sequence[Question],
    out: Path,
    *,
    repeats: int,
    max_new_tokens: int,
    asked: dict[str, Any],
    frames: int | None = None,
    fps: float | None = None,
    lengths: Sequence[int] = (),
) -> tuple[dict[str, Any], PairBench]:
    """Run what has not been run yet, write `results.json`; returns its content, and the bench with its last answers.

    Args:
        lengths: Video tokens for which the cost of a token is measured as well.
        asked: What else makes this run what it is; a journal of another run is refused.

    Raises:
        RushesError: No questions, nothing could be run, or a file cannot be written.
    """
    bench = PairBench(pair, max_new_tokens, frames=frames, fps=fps)
    about = {
        **asked,
        "repeats": repeats,
        "max_new_tokens": max_new_tokens,
        "frames": frames,
        "fps": fps,
        "trials": [asdict(trial) for trial in trials],
        "samples": [{"id": question.name, "prompt": question.prompt} for question in questions],
        **machine(pair),
    }
    journal = Journal(out / "answers.jsonl", {"schema": about["versions"]["rushes"], **about})
    bench.found = len(journal)
    with progress(len(trials) * len(questions) * repeats) as advance:
        run(bench, trials, questions, journal, repeats=repeats, each=advance)
    made = report(TITLE, trials, journal, about)
    if not made["rows"]:
        raise RushesError(f"nothing could be measured; the first reason: {made['skipped'][0]['reason']}")
    save(made, out)
    if lengths:
        made["growth"], reason = growth(pair, trials[-1].keep, lengths)
        if reason is not None:
            made["skipped"].append({"trial": "growth", "sample": "longer videos", "reason": reason})
        save(made, out)
    return made, bench


def conclude(made: dict[str, Any], bench: PairBench, out: Path, say: Say) -> None:
    """Print the tables and what was skipped, and write the report."""
    print_rows(made["rows"], say)
    for one in made["skipped"]:
        say(f"skipped: {one['trial']} on {one['sample']}: {one['reason']}")
    if bench.found:
        say(f"{bench.found} answers were there already; delete {out / 'answers.jsonl'} to measure them anew")
    main = [row["method"] for row in made["rows"] if not row["group"]][:SHOWN]
    page = publish(made, out, main, {name: result.timeline for name, result in bench.last.items()})
    say(f"Figures: {out / 'results.json'}\nReport: {page}")


@contextmanager
def progress(answers: int) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal, nothing elsewhere; gives what to call after each answer."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("answering", total=answers)
        yield lambda name: bar.update(task, advance=1, description=name)
