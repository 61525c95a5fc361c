"""The rows of a results file as a table for a terminal."""

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from rushes.bench.comparing import Change
from rushes.bench.plots import groups_of
from rushes.bench.trial import ASSISTED, PLAIN, STOCK

Say = Callable[[str], None]
COLUMNS = (
    "method",
    "tokens/s",
    "decoding",
    "end to end",
    "first token",
    "accepted/round",
    "kept tokens",
    "loop",
    "lossless",
    "retention",
    "identical",
)


def print_rows(rows: Sequence[dict[str, Any]], say: Say) -> None:
    """A table for the methods and one for each ablation."""
    for group, some in groups_of(rows).items():
        if group:
            say(f"\nAblation: {group}")
        print_table(COLUMNS, [_cells(row) for row in some], say)
    say("Medians [95 % intervals] of ratios to ar; loop: share of decoding spent outside both models.")
    if any(row["retention"] is not None for row in rows):
        say("Retention: quality of the answers over that of plain decoding's.")
    caches = ", ".join(f"{row['method']} {row['cache_bytes'] / 2**20:.1f} MiB" for row in rows if row["cache_bytes"])
    say(f"KV caches, allocated once for each request: {caches}")


def _cells(row: dict[str, Any]) -> list[str]:
    ours = row["recipe"] not in (STOCK, ASSISTED)
    drafted = row["recipe"] not in (PLAIN, STOCK)
    return [
        row["method"],
        "-" if row["tokens_per_second"] is None else f"{row['tokens_per_second']:.1f}",
        _ratio(row, "speedup_decode"),
        _ratio(row, "speedup_end_to_end"),
        f"{row['time_to_first_token_s']:.2f} s",
        f"{row['accepted_per_round']:.2f}" if drafted else "-",
        f"{row['kept_tokens']} of {row['video_tokens']}" if drafted else "-",
        f"{row['overhead_share']:.1%}" if ours else "-",
        "yes" if row["lossless"] else "no",
        "-" if row["retention"] is None else f"{row['retention']:.1%}",
        _identical(row),
    ]


def _ratio(row: dict[str, Any], name: str) -> str:
    if row[name] is None:
        return "-"
    low, high = row[f"{name}_interval"]
    return f"{row[name]:.2f}x [{low:.2f}, {high:.2f}]"


def _identical(row: dict[str, Any]) -> str:
    if row["identical_share"] is None:
        return "-"
    if row["identical"]:
        return "yes"
    first = row["divergences"][0]
    gap = "" if first["logit_gap"] is None else f", gap {first['logit_gap']:.2g}"
    return f"{row['identical_share']:.0%} (token {first['first_divergence']}{gap})"


def print_changes(changes: Sequence[Change], say: Say) -> None:
    """What a comparison found: what got worse first."""
    order = {"worse": 0, "better": 1, "same": 2, "unknown": 3}
    found = sorted(changes, key=lambda change: order[change.verdict])
    lines = [[one.method, one.figure, f"{one.old:.3f}", f"{one.new:.3f}", one.verdict] for one in found]
    print_table(("method", "figure", "old", "new", "beyond the noise"), lines, say)


def print_table(headings: Sequence[str], lines: Sequence[Sequence[str]], say: Say) -> None:
    """Lines below headings, the first column to the left."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for i, heading in enumerate(headings):
        shown.add_column(heading, justify="right" if i else "left")
    for line in lines:
        shown.add_row(*line)
    console = Console(width=200)
    with console.capture() as captured:
        console.print(shown)
    say("\n".join(line.rstrip() for line in captured.get().splitlines()))
