"""What a run leaves behind: `results.json`, and a page of that and of the timelines."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import rushes
from rushes._transformers import transformers
from rushes.atomic import make_folder, whole
from rushes.bench.journal import Journal
from rushes.bench.results import SCHEMA, rows_of, skipped
from rushes.bench.standin import parameters
from rushes.bench.trial import Trial
from rushes.pair import Pair
from rushes.timeline import Timeline


def machine(pair: Pair) -> dict[str, Any]:
    """Where a run took place: what a reader needs to judge its figures."""
    models = {"target": pair.target, **({} if pair.draft is None else {"draft": pair.draft})}
    gpus = sorted({str(model.device) for model in models.values() if model.device.type == "cuda"})
    sizes = None if pair.processor is None else getattr(getattr(pair.processor, "video_processor", None), "size", None)
    return {
        "parameters": {name: parameters(model.model) for name, model in models.items()},
        "dtype": {name: str(model.dtype).removeprefix("torch.") for name, model in models.items()},
        "device": {name: str(model.device) for name, model in models.items()},
        "gpus": [torch.cuda.get_device_name(gpu) for gpu in gpus],
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "pixel_caps": None if sizes is None else dict(sizes),
        "versions": {
            "rushes": rushes.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The commit of the source, where it is a checkout."""
    here = Path(__file__)

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *words], cwd=here.parent, capture_output=True, text=True, timeout=5, check=False)

    try:
        # An installed package may lie in somebody else's repository.
        ours = git("ls-files", "--error-unmatch", here.name).returncode == 0
        done = git("rev-parse", "HEAD") if ours else None
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done is not None and done.returncode == 0 else None


def report(title: str, trials: Sequence[Trial], journal: Journal, about: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `results.json`."""
    return {
        "schema": SCHEMA,
        "title": title,
        "rows": rows_of(trials, journal),
        "skipped": skipped(journal),
        "about": dict(about),
    }


def save(made: Mapping[str, Any], out: Path) -> Path:
    """Write `results.json` into a folder.

    Raises:
        RushesError: It cannot be written.
    """
    path = out / "results.json"
    with whole(path) as temporary:
        temporary.write_text(json.dumps(made, indent=1) + "\n")
    return path


def publish(made: dict[str, Any], out: Path, shown: Sequence[str], timelines: Mapping[str, Timeline]) -> Path:
    """Draw the plots and the timelines, and write `report.html`.

    Args:
        shown: Methods whose timelines belong into the page; one that did not run again keeps what an earlier run drew.
        timelines: Of those that ran.

    Raises:
        RushesError: A file cannot be written.
    """
    from rushes.bench.page import page
    from rushes.bench.plots import draw_all
    from rushes.timeline_picture import draw_timeline

    folder = make_folder(out / "plots")
    drawn: dict[str, Path] = {}
    for i, name in enumerate(shown):
        picture = folder / f"timeline-{i:02d}.png"
        if name in timelines:
            draw_timeline(timelines[name], picture, name)
        if picture.exists():
            drawn[name] = picture
    path = out / "report.html"
    with whole(path) as temporary:
        temporary.write_text(page(made, draw_all(made, folder), drawn))
    return path
