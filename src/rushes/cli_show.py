"""The command `rushes show`: a picture of what each scorer keeps, frame by frame."""

import re
from pathlib import Path
from typing import Annotated

import typer

from rushes.cli_models import Debug, Device, load_pair
from rushes.errors import RushesError


def show(
    video: Annotated[str | None, typer.Argument(help="A video file.", metavar="VIDEO")] = None,
    prompt: Annotated[
        str | None, typer.Option("-p", "--prompt", help="The question; a description by default.")
    ] = None,
    scorer: Annotated[
        str | None, typer.Option(help="Separated by commas; all that have something to show by default.")
    ] = None,
    keep: Annotated[float, typer.Option(help="Share of the video tokens to keep, 0 to 1.")] = 0.1,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("show-out"),
    target: Annotated[
        str | None, typer.Option(help="Checkpoint folder or hub id; the bundled target by default.")
    ] = None,
    frames: Annotated[int | None, typer.Option(help="Take so many frames.")] = None,
    fps: Annotated[float | None, typer.Option(help="Take so many frames a second.")] = None,
    device: Device = None,
    dtype: Annotated[str, typer.Option(help="auto (the checkpoint's), float32, bfloat16 or float16.")] = "auto",
    debug: Debug = False,
) -> None:
    """What each scorer keeps of a video, as pictures: frames, scores, and the share of every frame."""
    if video is None:
        raise RushesError("no video given; `rushes demo --out demo-out` writes one to demo-out/demo.mp4")
    from rushes.atomic import make_folder
    from rushes.demo import bundled
    from rushes.loading import check_device, check_dtype
    from rushes.progress import working
    from rushes.prompting import DEFAULT_PROMPT, check_prompt
    from rushes.pruning.base import budget_of
    from rushes.score_pictures import counts, draw_view
    from rushes.show import scorers, views
    from rushes.video import Sampling, check_video

    # What can be refused is refused before anything is loaded.
    chosen = scorers(scorer)
    budget_of(keep, 0)
    prompt = DEFAULT_PROMPT if prompt is None else prompt
    check_prompt(prompt)
    if device is not None:
        check_device(device)
    check_dtype(dtype)
    check_video(video, Sampling(num_frames=frames, fps=fps))
    out = make_folder(out)
    pair = load_pair(target or bundled.TARGET, None, device, None, dtype)
    with working("reading the video"):
        inputs, read = pair.inputs(video, prompt, frames=frames, fps=fps)
    with working("scoring"):
        shown = views(pair.target, inputs, chosen, keep)
    for note in read.notes:
        typer.echo(f"note: {note}", err=True)
    for view in shown:
        path = out / f"show-{_file_name(view.name)}.png"
        draw_view(view, read, prompt, pair.processor, pair.target.config.vision_config.patch_size, path)
        typer.echo(f"{view.name:<12} {counts(view)}  {path}")


def _file_name(name: str) -> str:
    """A scorer's name with its parameters, without what a path cannot hold."""
    return re.sub(r"[^\w.=-]+", "-", name)
