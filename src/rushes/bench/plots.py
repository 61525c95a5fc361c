"""The plots of a results file: what is drawn is what stands in the JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rushes.atomic import whole

INK, OURS, PLAIN = "#333333", "#0072b2", "#999999"


def bars(rows: Sequence[dict[str, Any]], figure: str) -> list[tuple[str, float, float, float]]:
    """Label, median and the ends of its interval for every row that has the figure."""
    return [
        (row["method"], row[figure], *row[f"{figure}_interval"])
        for row in rows
        if row.get(figure) is not None and row.get(f"{figure}_interval") is not None
    ]


def groups_of(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The rows by ablation; "" is the main table."""
    made: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        made.setdefault(row["group"], []).append(row)
    return made


def draw_all(report: dict[str, Any], folder: Path) -> dict[str, Path]:
    """One PNG for each group of rows, decode and end-to-end speedup with their intervals, and one of the growth.

    Returns:
        Title -> file.
    """
    made = {}
    for group, rows in groups_of(report["rows"]).items():
        title = f"Ablation: {group}" if group else "Speedup over plain decoding"
        made[title] = _speedups(title, rows, folder / f"speedup{'-' + _slug(group) if group else ''}.png")
    if report.get("growth"):
        title = "A token's cost grows with the video"
        made[title] = _growth(title, report["growth"], folder / "growth.png")
    return made


GROWTH = {"target": PLAIN, "draft": "#e69f00", "draft_pruned": OURS}


def curves(points: Sequence[dict[str, Any]]) -> dict[str, tuple[list[int], list[float]]]:
    """Name -> video tokens and milliseconds of a pass over one row."""
    return {
        name: ([point["video_tokens"] for point in points], [1000 * point[name] for point in points])
        for name in GROWTH
        if all(name in point for point in points)
    }


def _growth(title: str, points: Sequence[dict[str, Any]], out: Path) -> Path:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for name, (x, y) in curves(points).items():
        label = f"draft, sees {points[0]['keep']:.0%} of it" if name == "draft_pruned" else name
        axes.plot(x, y, marker="o", color=GROWTH[name], label=label)
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("video tokens in the cache")
    axes.set_ylabel("milliseconds of a pass over one token")
    axes.set_title(title)
    axes.legend()
    axes.grid(alpha=0.3)
    with whole(out) as path:
        figure.savefig(path, dpi=100, format="png")
    pyplot.close(figure)
    return out


def _speedups(title: str, rows: Sequence[dict[str, Any]], out: Path) -> Path:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, 2, figsize=(11, 1.4 + 0.38 * len(rows)), layout="constrained", sharey=True, squeeze=False
    )
    names = ("speedup_decode", "speedup_end_to_end")
    for axis, name, words in zip(axes[0], names, ("decoding", "end to end"), strict=True):
        found = bars(rows, name)
        labels = [label for label, *_ in found]
        values = [value for _, value, *_ in found]
        spread = ([max(0.0, v - low) for _, v, low, _ in found], [max(0.0, high - v) for _, v, _, high in found])
        colours = [PLAIN if label in ("ar", "transformers", "assisted") else OURS for label in labels]
        axis.barh(labels, values, xerr=spread, color=colours, error_kw={"ecolor": INK, "capsize": 3})
        axis.axvline(1, color=INK, linewidth=1, linestyle=":")
        axis.set_xlabel(f"{words}, times plain decoding (median, 95 % interval)")
        axis.grid(axis="x", alpha=0.3)
    axes[0][0].invert_yaxis()
    figure.suptitle(title)
    with whole(out) as path:
        figure.savefig(path, dpi=100, format="png")
    pyplot.close(figure)
    return out


def _slug(words: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in words.lower())
