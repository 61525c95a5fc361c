"""The command `rushes bench`: methods side by side, and two runs compared."""

from pathlib import Path
from typing import Annotated, Any

import typer

from rushes.cli_models import Debug, Device, load_pair
from rushes.errors import RushesError

METHODS = "transformers,assisted,ar,sd,specvlm,hippo,lvspec,rush"


def bench(
    methods: Annotated[
        str | None,
        typer.Option(
            help=f"Separated by commas, {METHODS} by default; transformers is its generate, assisted its own "
            "assisted generation, whose draft is blind."
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="A paper's table and ablations: specvlm, parallelvlm, hippo or lvspec.")
    ] = None,
    pair: Annotated[
        str, typer.Option(help="demo, the bundled stand-ins, or TARGET,DRAFT: checkpoint folders or hub ids.")
    ] = "demo",
    standin: Annotated[
        str | None, typer.Option(help="TARGET,DRAFT: the bundled pair at the sizes of these checkpoints; no download.")
    ] = None,
    videos: Annotated[str, typer.Option(help="demo, or a folder of videos.")] = "demo",
    data: Annotated[
        str | None, typer.Option(help="NAME=FOLDER, a public benchmark on disk, or a .jsonl of video and prompt.")
    ] = None,
    prompt: Annotated[str | None, typer.Option("-p", "--prompt", help="Asked about a folder of videos.")] = None,
    samples: Annotated[int, typer.Option(help="Videos or questions, at most.", min=1)] = 3,
    repeats: Annotated[int, typer.Option(help="Runs of each method on each of them.", min=1)] = 3,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens of each answer, at most.", min=2)] = 120,
    keep: Annotated[
        float | None, typer.Option(help="Share of the video tokens that the draft sees, 0 to 1; 0.1 by default.")
    ] = None,
    frames: Annotated[int | None, typer.Option(help="Take so many frames of each video.")] = None,
    fps: Annotated[float | None, typer.Option(help="Take so many frames a second.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results; a run that was interrupted goes on there.")] = Path(
        "bench-out"
    ),
    device: Device = None,
    draft_device: Annotated[str | None, typer.Option(help="Of the draft; the target's by default.")] = None,
    dtype: Annotated[str, typer.Option(help="auto (the checkpoint's), float32, bfloat16 or float16.")] = "auto",
    lengths: Annotated[
        str,
        typer.Option(help="Video tokens for which the cost of a token is measured as well, or none."),
    ] = "256,1024,4096,16384",
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Compare two results files instead of running.", metavar="OLD NEW")
    ] = None,
    debug: Debug = False,
) -> None:
    """Methods side by side, interleaved sample by sample: speed, acceptance, quality, and whether answers agree."""
    if compare is not None:
        _compare(*compare)
        return
    from rushes.bench.presets import preset as named
    from rushes.bench.presets import trials as listed
    from rushes.loading import check_device, check_dtype
    from rushes.prompting import DEFAULT_PROMPT, check_prompt
    from rushes.settings import Settings
    from rushes.video import Sampling

    # What can be refused is refused before anything is loaded.
    if methods is not None and preset is not None:
        raise RushesError("--methods and --preset exclude each other")
    names = [name.strip() for name in (methods or METHODS).split(",") if name.strip()]
    if not names:
        raise RushesError("no methods given; --methods ar,sd,specvlm compares three")
    if preset is not None and keep is not None:
        raise RushesError("--preset has shares of its own; leave --keep, or use --methods")
    trials = named(preset) if preset is not None else listed(names, 0.1 if keep is None else keep)
    for trial in trials:
        Settings(method=trial.method if trial.ours else "ar", keep=trial.keep, max_new_tokens=max_new_tokens)
    if standin is not None and pair != "demo":
        raise RushesError("--standin and --pair exclude each other")
    if pair != "demo" and len([name for name in pair.split(",") if name.strip()]) != 2:
        raise RushesError(f"--pair is demo or TARGET,DRAFT, got {pair!r}")
    if draft_device is not None and pair == "demo":
        raise RushesError("--draft-device is for --pair TARGET,DRAFT; stand-ins share one device")
    if data is not None and videos != "demo":
        raise RushesError("--data and --videos exclude each other")
    if prompt is not None and (videos == "demo" or data is not None):
        raise RushesError("--prompt is for --videos FOLDER; the demo's videos and data sets have prompts of their own")
    check_prompt(prompt if prompt is not None else DEFAULT_PROMPT)
    for place in (device, draft_device):
        if place is not None:
            check_device(place)
    check_dtype(dtype)
    tokens = _lengths(lengths)
    Sampling(num_frames=frames, fps=fps)
    _run(
        trials,
        {
            "pair": pair if standin is None else f"stand-ins of {standin}",
            "videos": videos if data is None else data,
            "samples_asked": samples,
            "preset": preset,
        },
        source=(pair, standin, device, draft_device, dtype),
        videos=(videos, data, DEFAULT_PROMPT if prompt is None else prompt, samples),
        out=out,
        how={"repeats": repeats, "max_new_tokens": max_new_tokens, "frames": frames, "fps": fps, "lengths": tokens},
    )


def _lengths(text: str) -> tuple[int, ...]:
    """Numbers of video tokens.

    Raises:
        RushesError: Something else.
    """
    if text == "none":
        return ()
    pieces = text.split(",")
    if not all(piece.strip().isdigit() and 0 < int(piece) <= 2**20 for piece in pieces):
        raise RushesError(f"--lengths are numbers of video tokens, such as 256,1024, or none; got {text!r}")
    return tuple(int(piece) for piece in pieces)


def _run(trials: Any, asked: dict[str, Any], *, source: Any, videos: Any, out: Path, how: dict[str, Any]) -> None:
    from rushes.atomic import make_folder
    from rushes.bench.samples import of_data, of_folder
    from rushes.progress import quiet_libraries, working

    pair_name, standin, device, draft_device, dtype = source
    folder, data, prompt, samples = videos
    out = make_folder(out)
    skipped: list[Any] = []
    if data is not None:
        questions, found = of_data(data, samples)
        skipped = found.skipped
    elif folder != "demo":
        questions = of_folder(Path(folder), prompt, samples)
    with working("loading"):
        quiet_libraries()
        import torch

        from rushes.bench.command import conclude, measure
        from rushes.demo import bundled
        from rushes.demo.run import about
        from rushes.demo.run import questions as demo_questions

    if folder == "demo" and data is None:
        questions = demo_questions(make_folder(out / "videos"), samples)
    if standin is not None:
        from rushes.bench.real_shapes import pair_of, stand_ins

        for note in (note for one in stand_ins(standin) for note in one.notes):
            typer.echo(note)
        place = device or ("cuda" if torch.cuda.is_available() else "cpu")
        with working("building the stand-ins"):
            pair = pair_of(standin, place, torch.bfloat16 if dtype == "auto" else getattr(torch, dtype))
    elif pair_name == "demo":
        with working("loading the stand-in pair"):
            place = device or ("cuda" if torch.cuda.is_available() else "cpu")
            pair = bundled.standins(place, torch.bfloat16 if dtype == "auto" else getattr(torch, dtype))
        typer.echo(about(pair))
    else:
        target, draft = (name.strip() for name in pair_name.split(","))
        pair = load_pair(target, draft, device, draft_device, dtype)
    made, bench = measure(pair, trials, questions, out, asked=asked, **how)
    conclude(made, bench, out, typer.echo)
    for one in skipped:
        typer.echo(f"skipped: {one.id}: {one.reason}")


def _compare(old: Path, new: Path) -> None:
    """Exit code 1 when something got worse, so that a script can notice."""
    from rushes.bench.comparing import compare, load
    from rushes.bench.tables import print_changes

    before, after = load(old), load(new)
    changes = compare(before, after)
    if not changes:
        raise RushesError(f"{old} and {new} have no method in common but ar")
    print_changes(changes, typer.echo)
    worse = sum(change.verdict == "worse" for change in changes)
    typer.echo(f"{worse} of {len(changes)} figures are worse beyond the noise")
    if worse:
        raise typer.Exit(1)
