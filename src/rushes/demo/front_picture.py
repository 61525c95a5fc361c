"""The speed-against-retention curve as a picture."""

from pathlib import Path
from typing import Any

from rushes.atomic import whole

COLOURS = {  # Okabe and Ito's, which colour-blind people can tell apart
    "lvspec": "#0072b2",
    "lvspec, state at the token": "#56b4e9",
    "random": "#999999",
    "fly": "#e69f00",
    "exact": "#000000",
    "specvlm": "#009e73",
    "rush": "#d55e00",
}


def draw(report: dict[str, Any], out: Path) -> None:
    """Retention over decode speedup, a line for each verifier, with the retention's 95 % intervals.

    Without timings the x axis is tokens for each pass of the target.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in report["test"]["rows"] if row["curve"] in COLOURS and row["keep"] == 0.1]
    timed = "speedup_decode" in rows[0]
    figure, axes = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    for curve, colour in COLOURS.items():
        points = [row for row in rows if row["curve"] == curve]
        x = [row["speedup_decode"]["median"] if timed else row["tokens_per_pass"] for row in points]
        y = [row["retention"]["value"] for row in points]
        kept = [row["retention"] for row in points]
        low, high = ([abs(one["interval_95"][i] - one["value"]) for one in kept] for i in (0, 1))
        line = "-" if points and points[0]["knob"] is not None else ""
        axes.errorbar(x, y, yerr=(low, high), marker="o", linestyle=line, color=colour, label=curve, capsize=3)
        for row, a, b in zip(points, x, y, strict=True):
            if row["knob"] is not None:
                axes.annotate(f"{row['knob']:g}", (a, b), xytext=(6, 5), textcoords="offset points", fontsize=8)
    axes.axhline(report["keeps_enough"], color="#cc79a7", linewidth=1, linestyle=":")
    axes.set_xlabel("decode speedup over plain decoding" if timed else "tokens for each pass of the target")
    axes.set_ylabel("retention of the target's F1")
    videos = report["test"]["videos"]
    axes.set_title(f"Loose verification, bundled pair, keep 0.1, {videos} held-out videos (numbers: lambda; FLy: nats)")
    axes.legend()
    axes.grid(alpha=0.3)
    with whole(out) as path:
        figure.savefig(path, dpi=110, format="png")
    pyplot.close(figure)
