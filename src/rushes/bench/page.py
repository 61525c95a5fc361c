"""`report.html`: a results file for people, in one file that needs no network."""

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from rushes.bench.plots import groups_of

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #8886; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
small { opacity: .75; } img { max-width: 100%; background: #fff; } code { font-size: .9em; }
"""
COLUMNS = {
    "tokens/s": lambda row: _number(row["tokens_per_second"], "{:.1f}"),
    "decode": lambda row: _ratio(row, "speedup_decode"),
    "end to end": lambda row: _ratio(row, "speedup_end_to_end"),
    "first token": lambda row: _number(row["time_to_first_token_s"], "{:.2f} s"),
    "per token": lambda row: _number(row["per_token_s"], "{:.4f} s"),
    "accepted a round": lambda row: _number(row["accepted_per_round"], "{:.2f}"),
    "between rejections": lambda row: _number(row["accepted_between_rejections"], "{:.1f}"),
    "draft sees": lambda row: f"{row['kept_tokens']} of {row['video_tokens']}",
    "peak memory": lambda row: _number(row["peak_bytes"], "{:.2f} GiB", 2**30),
    "KV caches": lambda row: _number(row["cache_bytes"], "{:.1f} MiB", 2**20),
    "quality": lambda row: _number(row["quality"], "{:.3f}"),
    "retention": lambda row: _retention(row),
    "lossless": lambda row: "yes" if row["lossless"] else "no",
    "identical": lambda row: _number(row["identical_share"], "{:.0%}"),
}


def page(report: dict[str, Any], plots: Mapping[str, Path], timelines: Mapping[str, Path]) -> str:
    """The whole page.

    Args:
        report: What `results.json` holds.
        plots, timelines: Title or method -> PNG; they are put into the page.
    """
    parts = [f"<h1>{escape(report['title'])}</h1>", _about(report)]
    for group, rows in groups_of(report["rows"]).items():
        parts.append(f"<h2>{escape(f'Ablation: {group}' if group else 'Methods')}</h2>{_table(rows)}")
    parts += [f"<h2>{escape(title)}</h2>{_picture(path, title)}" for title, path in plots.items()]
    for name, path in timelines.items():
        parts.append(f"<h2>Who was busy when: {escape(name)}</h2>{_picture(path, f'timeline of {name}')}")
    parts.append(_list("Answers that differ from plain decoding", _divergences(report)))
    skipped = [f"{one['trial']}, {one['sample']}: {one['reason']}" for one in report["skipped"]]
    parts.append(_list("What could not be run", skipped))
    body = "\n".join(part for part in parts if part)
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<meta http-equiv='Content-Security-Policy' "
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{escape(report['title'])}</title><style>{STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _about(report: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(str(name))}</td><td>{escape(str(value))}</td></tr>" for name, value in report["about"].items()
    )
    return (
        "<p>Medians with their 95 % bootstrap intervals; speedups are ratios to plain decoding (<code>ar</code>) of "
        "the same sample in the same round.</p>"
        f"<details><summary>What was run, and where</summary><div class='wide'><table>{rows}</table></div></details>"
    )


def _table(rows: list[dict[str, Any]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("method", *COLUMNS))
    lines = []
    for row in rows:
        cells = "".join(f"<td>{cell(row)}</td>" for cell in COLUMNS.values())
        lines.append(f"<tr data-method='{escape(row['method'])}'><td>{escape(row['method'])}</td>{cells}</tr>")
    return f"<div class='wide'><table><tr>{head}</tr>{''.join(lines)}</table></div>"


def _ratio(row: dict[str, Any], name: str) -> str:
    if row[name] is None:
        return "-"
    low, high = row[f"{name}_interval"]
    return f"{row[name]:.2f}x <small>[{low:.2f}, {high:.2f}]</small>"


def _retention(row: dict[str, Any]) -> str:
    if row["retention"] is None:
        return "-"
    low, high = row["retention_interval"]
    return f"{row['retention']:.1%} <small>[{low:.1%}, {high:.1%}]</small>"


def _number(value: float | None, form: str, unit: float = 1) -> str:
    return "-" if value is None else form.format(value / unit)


def _divergences(report: dict[str, Any]) -> list[str]:
    made = []
    for row in report["rows"]:
        for one in row["divergences"]:
            gap = "" if one["logit_gap"] is None else f", the target prefers its own by {one['logit_gap']:.3g} logits"
            made.append(f"{row['method']}, {one['sample']}: from token {one['first_divergence']} on{gap}")
    return made


def _list(title: str, lines: list[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>{escape(title)}</h2><ul>{items}</ul>"


def _picture(path: Path, words: str) -> str:
    encoded = base64.b64encode(path.read_bytes()).decode()
    return f"<img alt='{escape(words)}' src='data:image/png;base64,{encoded}'>"
