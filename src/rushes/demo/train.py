"""Train the demo pair: `python -m rushes.demo.train` runs three stages: target, draft, draft taught by the target.

What makes it feasible on a CPU: the vision tower learns first, from throw-away linear heads that say for
every merged cell what it shows; a head in the middle of the language model says for every token which scene it speaks
of; another says at the words of the target's question what every scene shows, so that the text behind the video looks
at all of it, as in a real model; words that carry a fact weigh more than the words around them; and one look at a video
serves several questions.
The draft also learns with most video tokens hidden, so that a pruned prompt is nothing new to it, and in the end from
the target's own distribution. Batches are numbered and drawn from (seed, number): a run resumes where it stopped.
"""

import argparse
import logging
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rushes.demo.trainer import Trainer

log = logging.getLogger("rushes.demo.train")


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the recipe. `taught`: starts from the trained draft and learns from the target's distribution."""

    name: str
    role: str
    steps: int
    lr: float
    taught: bool = False


STAGES = (
    Stage("target", "target", 6000, 1.2e-3),
    Stage("draft", "draft", 6000, 2e-3),
    Stage("taught", "draft", 3000, 1e-3, taught=True),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", choices=[s.name for s in STAGES], help="one stage only; all by default")
    parser.add_argument("--out", type=Path, default=Path("training"), help="checkpoints; a run resumes from them")
    parser.add_argument("--steps", type=int, help="instead of each stage's own number")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="0: torch's default")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.threads:
        torch.set_num_threads(options.threads)
    for stage in STAGES:
        if options.stage in (None, stage.name):
            run_stage(stage, options.out, options.steps or stage.steps, options.seed)


def run_stage(stage: Stage, out: Path, steps: int, seed: int) -> None:
    """Train one stage to its end, from its checkpoint if there is one; writes `out/NAME/export`."""
    teacher = out / "target" / "export" if stage.taught else None
    trainer = Trainer(stage.role, out / stage.name, steps, stage.lr, seed + stage.taught, teacher)
    checkpoint = trainer.folder / "checkpoint.pt"
    if checkpoint.exists():
        trainer.resume(checkpoint)
    elif stage.taught:
        trainer.resume(out / "draft" / "checkpoint.pt", weights_only=True)
    run(trainer)


def run(trainer: Trainer) -> None:
    """Train to the end with a progress bar on a terminal and a line in the log every hundred steps."""
    columns: Any = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    recent: list[dict[str, float]] = []
    saved_at = time.monotonic()
    with Progress(*columns, disable=not os.isatty(2)) as progress:
        task = progress.add_task(trainer.role, total=trainer.steps, completed=trainer.done)
        while trainer.done < trainer.steps:
            recent.append(trainer.step())
            progress.update(task, completed=trainer.done)
            if trainer.done % 100 == 0:
                names = list(dict.fromkeys(n for r in recent for n in r))
                means = {n: [r[n] for r in recent if n in r and not math.isnan(r[n])] for n in names}
                line = " ".join(f"{n} {sum(v) / max(1, len(v)):.3f}" for n, v in means.items())
                log.info("%s step %d: %s", trainer.role, trainer.done, line)
                recent.clear()
            if time.monotonic() - saved_at > 120:
                trainer.save()
                saved_at = time.monotonic()
    trainer.save()
    trainer.export()
    trainer.drawing.shutdown(cancel_futures=True)


if __name__ == "__main__":
    main()
