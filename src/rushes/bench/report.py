"""What comes out of a side-by-side run: a table for people, a file for tools."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from rushes._transformers import transformers
from rushes.atomic import whole
from rushes.bench.side_by_side import PLAIN, STOCK, Row, Runs
from rushes.bench.standin import parameters
from rushes.pair import Pair

Say = Callable[[str], None]


def print_table(rows: list[Row], say: Say) -> None:
    """The table that people read: ratios to plain decoding in the same run."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for heading in (
        "method",
        "tokens/s",
        "speedup",
        "end to end",
        "accepted/round",
        "kept tokens",
        "loop",
        "lossless",
        "retention",
        "identical",
    ):
        shown.add_column(heading, justify="left" if heading == "method" else "right")
    for row in rows:
        # Plain decoding has no draft; transformers' generate is plain decoding too.
        alone = row.method in (PLAIN, STOCK)
        shown.add_row(
            row.method,
            f"{row.tokens_per_second:.1f}",
            _ratio(row.speedup_decode, row.speedup_decode_range),
            _ratio(row.speedup_end_to_end, row.speedup_end_to_end_range),
            "-" if alone else f"{row.accepted_per_round:.2f}",
            "-" if alone else f"{row.kept_tokens} of {row.video_tokens}",
            "-" if row.method == STOCK else f"{row.overhead_share:.1%}",
            "yes" if row.lossless else "no",
            "-" if row.retention is None else f"{row.retention:.1%}",
            "yes" if row.identical else _differs(row),
        )
    console = Console(width=150)
    with console.capture() as captured:
        console.print(shown)
    say("\n".join(line.rstrip() for line in captured.get().splitlines()))
    say("Medians [quartiles] of ratios to ar; loop: share of decoding spent outside both models.")
    if any(row.retention is not None for row in rows):
        say("Retention: F1 of the facts in the answer over that of plain decoding's answer.")
    caches = ", ".join(f"{row.method} {row.cache_bytes / 2**20:.1f} MiB" for row in rows if row.cache_bytes)
    say(f"KV caches, allocated once for each request: {caches}")


def _ratio(median: float, spread: tuple[float, float]) -> str:
    return f"{median:.2f}x [{spread[0]:.2f}, {spread[1]:.2f}]"


def _differs(row: Row) -> str:
    first = row.divergences[0]
    gap = "" if first["logit_gap"] is None else f", gap {first['logit_gap']:.2g}"
    return f"no (token {first['first_divergence']}{gap})"


def save(path: Path, rows: list[Row], pair: Pair, runs: Runs, repeats: int, **more: Any) -> None:
    """Write the rows, what they were measured on, and whatever else there is, as `results.json`."""
    assert pair.draft is not None
    about: dict[str, Any] = {
        "rows": [asdict(row) for row in rows],
        "samples": len(runs.answers[PLAIN]) // repeats,
        "repeats": repeats,
        "parameters": {"target": parameters(pair.target.model), "draft": parameters(pair.draft.model)},
        "dtype": str(pair.target.dtype).removeprefix("torch."),
        "device": str(pair.target.device),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }
    about |= more
    with whole(path) as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n")
