"""Predictions for people and for tools; both say what they are."""

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from rushes.bench.planning.limits import describe
from rushes.bench.planning.outlook import Outlook
from rushes.bench.planning.plan import Prediction, best
from rushes.bench.planning.workload import Setting

CAVEATS = (
    "Left out: reading the video file, the scorer, and attention inside the vision towers, which count by parameters.",
    "End to end: from the frames to the last token. T_p: a pass of the target over one row. T_q: a step of the draft.",
)


def print_plan(
    setting: Setting, outlook: Outlook, rows: Sequence[Prediction], notes: Sequence[str], say: Callable[[str], None]
) -> None:
    """The table."""
    say(_about(setting))
    say(f"Acceptance: {_acceptance(outlook, rows)} ({outlook.about}).\n")
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for heading in (
        "",
        "method",
        "schedule",
        "predicted\nbest gamma",
        "predicted\nbest keep",
        "predicted\nT_p, T_q",
        "predicted\ntokens/s",
        "predicted\ndecode speedup",
        "predicted\nend to end",
        "predicted limits of decoding",
    ):
        shown.add_column(heading, justify="left" if heading in ("", "method", "schedule") else "right", no_wrap=True)
    shown.columns[-1].justify = "left"
    first = best(rows)
    for i, row in enumerate(rows):
        alone = row.gamma == 0
        shown.add_row(
            "*" if i == first else "",
            row.method,
            f"{row.schedule} ({row.mode})" if row.mode else row.schedule,
            "-" if alone else "as fits" if row.gamma is None else str(row.gamma),
            "-" if alone else f"{row.keep:g}",
            _milliseconds(row.target_pass_s)
            if alone
            else f"{_milliseconds(row.target_pass_s)}, {_milliseconds(row.draft_step_s)}",
            f"{row.tokens_per_second:.1f}",
            f"{row.speedup_decode:.2f}x",
            f"{row.speedup_end_to_end:.2f}x",
            describe(row.limits),
        )
    console = Console(width=200)
    with console.capture() as captured:
        console.print(shown)
    say("\n".join(line.rstrip() for line in captured.get().splitlines()))
    say(f"\n{_verdict(rows[first], rows[0])}")
    for note in (*notes, *CAVEATS):
        say(note)


def _about(setting: Setting) -> str:
    device, load = setting.device, setting.workload
    where = f"{setting.devices} x {device.name}" if setting.devices > 1 else f"{device.name}, shared by both models"
    return (
        f"PREDICTED, not run: {setting.target.name} ({_count(setting.target.parameters)}) with "
        f"{setting.draft.name} ({_count(setting.draft.parameters)}), {setting.dtype}\n"
        f"on {where} (reaching {device.bandwidth / 1e9:.3g} GB/s, {device.flops / 1e12:.3g} TFLOP/s, "
        f"{1e3 * device.layer_s:.2g} ms of overhead a layer);\n"
        f"{load.video_tokens} video and {load.text_tokens} text tokens, {load.new_tokens} new tokens."
    )


def _acceptance(outlook: Outlook, rows: Sequence[Prediction]) -> str:
    keeps = sorted({row.keep for row in rows if row.gamma != 0})
    return ", ".join(f"{outlook.chance(keep):.2f} at keep {keep:g}" for keep in keeps)


def _verdict(row: Prediction, plain: Prediction) -> str:
    share = f"{row.preparation_share:.0%} of the time is prefill and vision"
    if row is plain:
        return f"Predicted best: plain decoding; no method is predicted to end sooner. {share.capitalize()}."
    gamma = "as many tokens as fit" if row.gamma is None else f"gamma {row.gamma}"
    return (
        f"Predicted best (*): {row.method}, {row.schedule}, {gamma}, keep {row.keep:g}: "
        f"{row.speedup_end_to_end:.2f}x end to end; {share}."
    )


def to_json(setting: Setting, outlook: Outlook, rows: Sequence[Prediction], notes: Sequence[str]) -> dict[str, Any]:
    """One object that says that it is a prediction."""
    device, load = setting.device, setting.workload
    keeps = sorted({row.keep for row in rows if row.gamma != 0})
    return {
        "predicted": True,
        "target": setting.target.name,
        "draft": setting.draft.name,
        "dtype": setting.dtype,
        "device": {
            "name": device.name,
            "devices": setting.devices,
            "bandwidth_bytes_per_s": device.bandwidth,
            "flops_per_s": device.flops,
            "overhead_s_per_layer": device.layer_s,
        },
        "video_tokens": load.video_tokens,
        "text_tokens": load.text_tokens,
        "new_tokens": load.new_tokens,
        "acceptance": {"source": outlook.about, "by_keep": {f"{keep:g}": outlook.chance(keep) for keep in keeps}},
        "best": best(rows),
        "rows": [row.to_json() for row in rows],
        "notes": [*notes, *CAVEATS],
    }


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


def _count(parameters: float) -> str:
    return f"{parameters / 1e9:.3g}B" if parameters >= 1e9 else f"{parameters / 1e6:.3g}M"
