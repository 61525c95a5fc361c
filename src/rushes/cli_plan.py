"""The command `rushes plan`: how fast a pair would be on a device, from configs alone."""

import json
from pathlib import Path
from typing import Annotated

import typer

from rushes.cli_models import Debug
from rushes.errors import RushesError


def plan(
    target: Annotated[
        str | None, typer.Argument(help="Checkpoint folder or hub id; the bundled stand-ins by default.")
    ] = None,
    draft: Annotated[str | None, typer.Argument(help="The smaller one; only configs are read.")] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="H100, A100-80, ...; here: this machine, benchmarked; or bandwidth=2e12,flops=4e14,memory=80e9 as "
            "reached. By default here for the stand-ins and H100 for others."
        ),
    ] = None,
    devices: Annotated[int, typer.Option(help="1: both models share it; 2: one for each.")] = 1,
    dtype: Annotated[str, typer.Option(help="bfloat16, float16 or float32.")] = "bfloat16",
    video_tokens: Annotated[int | None, typer.Option(help="Video tokens of the prompt.")] = None,
    text_tokens: Annotated[int | None, typer.Option(help="Other tokens of the prompt.")] = None,
    new_tokens: Annotated[int | None, typer.Option(help="Tokens of the answer.")] = None,
    keep: Annotated[
        str | None, typer.Option(help="Shares of the video tokens to try for the draft, such as 0.1,0.5.")
    ] = None,
    acceptance: Annotated[
        str | None,
        typer.Option(help="Chance that a draft token is right: 0.85, or by keep ratio: 0.1=0.8,1=0.85."),
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Acceptance from a file: a list of true and false, or a `generate --json`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    debug: Debug = False,
) -> None:
    """Predict decode and end-to-end speed of every method, its best gamma and keep ratio, and what limits it."""
    if (target is None) != (draft is None):
        raise RushesError("plan needs a target and a draft; give both, or neither for the bundled stand-ins")
    from rushes.bench.planning import devices as known
    from rushes.bench.planning import outlook, shapes
    from rushes.bench.planning.plan import predict
    from rushes.bench.planning.report import print_plan, to_json
    from rushes.bench.planning.workload import Setting, Workload
    from rushes.progress import quiet_libraries, working

    # What can be refused is refused before anything is read or benchmarked.
    demo = target is None
    name = device if device is not None else ("here" if demo else "H100")
    known.weight_bytes(dtype)
    place = None if name in known.HERE else known.named(name, dtype)
    if place is None and devices == 2:
        raise RushesError("--devices 2 with this machine: it is one device; leave --devices at 1")
    usual = (288, 25, 120) if demo else (25088, 100, 256)  # the demo's own request; 128 frames of LLaVA-OneVision
    asked = (video_tokens, text_tokens, new_tokens)
    load = Workload(*(value if value is not None else default for value, default in zip(asked, usual, strict=True)))
    told = outlook.given(acceptance, trace)
    keeps = outlook.keeps_of(keep if keep is not None else "0.05,0.1,0.2,0.5,1" if demo else "0.1,0.2,0.5,1")
    for one in keeps:
        load.prompt(one)
    with working("reading configs"):
        quiet_libraries()
        if target is None or draft is None:
            pair = shapes.demo("target"), shapes.demo("draft")
        else:
            pair = shapes.find(target), shapes.find(draft)
            shapes.refuse_strangers(*pair)
    notes = []
    if place is None:
        from rushes.bench.planning import here

        busy = here.busy()
        if busy:
            notes.append(busy)
        with working("benchmarking this machine"):
            place = here.measure(dtype)
    setting = Setting(*pair, place, devices, dtype, load)
    lacking = setting.missing_memory()
    if lacking is not None:
        notes.append(f"Memory: {lacking}; the speeds are as if it did.")
    expected = told or (outlook.of_demo() if demo else outlook.assumed())
    unknown = [one for one in keeps if expected.chances and one < min(expected.chances)]
    if unknown and len(expected.chances) > 1:
        notes.append(
            f"No acceptance is known below keep {min(expected.chances):g}: that of {min(expected.chances):g} is taken."
        )
    with working("simulating"):
        rows = predict(setting, expected.traces, keeps)
    if as_json:
        typer.echo(json.dumps(to_json(setting, expected, rows, notes)))
        return
    print_plan(setting, expected, rows, notes, typer.echo)
