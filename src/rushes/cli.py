"""The command line: thin, and every error one line on stderr."""

import json
import os
import signal
import sys
import threading
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from rushes.cli_bench import bench
from rushes.cli_models import Debug, Device, gamma_of, load_pair
from rushes.cli_plan import plan
from rushes.cli_serve import serve
from rushes.cli_show import show
from rushes.errors import RushesError

AGAIN_S = 5.0  # after an interrupt that nobody has heard
app = typer.Typer(
    name="rushes",
    help="Speculative decoding for video LLMs: the same answer, sooner.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command()
def generate(
    video: Annotated[str | None, typer.Argument(help="A video file.", metavar="VIDEO")] = None,
    prompt: Annotated[
        str | None, typer.Option("-p", "--prompt", help="The question; a description by default.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Checkpoint folder or hub id; the bundled pair by default.")
    ] = None,
    draft: Annotated[str | None, typer.Option(help="A smaller checkpoint with the same tokens.")] = None,
    method: Annotated[str, typer.Option(help="See `rushes methods`.")] = "specvlm",
    keep: Annotated[float, typer.Option(help="Share of the video tokens that the draft sees, 0 to 1.")] = 0.1,
    gamma: Annotated[
        str | None, typer.Option(help="Tokens in a draft chain, levels of a draft tree; auto: as measured.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Length limit of the answer.")] = 256,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Nucleus sampling, with a temperature.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Sample among so many tokens; 0 among all.")] = 0,
    seed: Annotated[int | None, typer.Option(help="Of the sampling.")] = None,
    frames: Annotated[int | None, typer.Option(help="Take so many frames.")] = None,
    fps: Annotated[float | None, typer.Option(help="Take so many frames a second.")] = None,
    positions: Annotated[
        str, typer.Option(help="stock, as transformers numbers the prompt, or reference, as the model's own code does.")
    ] = "stock",
    device: Device = None,
    draft_device: Annotated[str | None, typer.Option(help="Of the draft; the target's by default.")] = None,
    dtype: Annotated[str, typer.Option(help="auto (the checkpoint's), float32, bfloat16 or float16.")] = "auto",
    check: Annotated[bool, typer.Option("--check", help="Also decode plainly and compare.")] = False,
    timeline: Annotated[
        Path | None, typer.Option(help="Draw who was busy when to FILE.png, or write it to FILE.json.", metavar="FILE")
    ] = None,
    explain: Annotated[
        Path | None, typer.Option(help="Show in FILE.html how each word of the answer came about.", metavar="FILE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    no_stream: Annotated[bool, typer.Option("--no-stream", help="Print the answer when it is complete.")] = False,
    debug: Debug = False,
) -> None:
    """Answer a question about a video."""
    if video is None:
        raise RushesError("no video given; `rushes demo --out demo-out` writes one to demo-out/demo.mp4")
    if target is None and draft is not None:
        raise RushesError("--draft without --target; give both, or neither for the bundled pair")
    from rushes.explain import check_explain, save_explain
    from rushes.loading import check_device, check_dtype
    from rushes.progress import working
    from rushes.prompting import DEFAULT_PROMPT, check_prompt
    from rushes.settings import Settings
    from rushes.timeline_file import check_timeline, save_timeline
    from rushes.video import Sampling, check_video

    # What can be refused is refused before anything is loaded.
    settings = Settings(
        method=method,
        keep=keep,
        gamma=gamma_of(gamma),
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        seed=seed,
        positions=positions,
        check=check,
    )
    if target is not None and draft is None and settings.recipe().needs_draft:
        raise RushesError("--target without --draft; give both, or use --method ar (plain decoding) or std (no draft)")
    prompt = DEFAULT_PROMPT if prompt is None else prompt
    check_prompt(prompt)
    for place in (device, draft_device):
        if place is not None:
            check_device(place)
    check_dtype(dtype)
    if timeline is not None:
        check_timeline(timeline)
    if explain is not None:
        check_explain(explain)
    check_video(video, Sampling(num_frames=frames, fps=fps))
    pair = _load(target, draft, device, draft_device, dtype)
    events = pair.stream(video, prompt, frames=frames, fps=fps, **asdict(settings))
    with working("reading the video"):
        event = next(events)
    live = not as_json and not no_stream
    while event.result is None:
        if live and event.text:
            typer.echo(event.text, nl=False)
        event = next(events)
    result = event.result
    if as_json:
        typer.echo(json.dumps(result.to_json()))
    else:
        typer.echo("" if live else result.text)
        _summary(result)
    if timeline is not None:
        save_timeline(result.timeline, timeline, result.method)
        typer.echo(f"timeline: {timeline}", err=True)
    if explain is not None:
        save_explain(result, explain, prompt)
        typer.echo(f"explained: {explain}", err=True)


def _load(target: str | None, draft: str | None, device: str | None, draft_device: str | None, dtype: str) -> Any:
    from rushes.demo import bundled

    if target is None:
        target, draft = bundled.TARGET, bundled.DRAFT
    return load_pair(target, draft, device, draft_device, dtype)


def _summary(result: Any) -> None:
    """What a person wants to know afterwards, on stderr: notes always, figures on a terminal."""
    for note in result.notes:
        typer.echo(f"note: {note}", err=True)
    if result.check is not None:
        typer.echo(f"check: {describe_check(result.check)}", err=True)
    if sys.stderr.isatty():
        metrics, layer = result.metrics, result.kept_per_layer
        seen = len(result.kept_indices) if layer is None else f"in each layer {layer}"
        typer.echo(
            f"{result.method}: {metrics['tokens_per_second']:.1f} tokens/s, "
            f"{metrics['accepted_per_round']:.2f} accepted per round, "
            f"the draft saw {seen} of {result.video_tokens} video tokens, "
            f"{'lossless' if result.lossless else 'not lossless'}",
            err=True,
        )


def describe_check(check: Any) -> str:
    """A comparison with plain decoding in words."""
    if check.identical:
        return "identical to plain decoding"
    gap = "" if check.logit_gap is None else f", where the target prefers its own token by {check.logit_gap:.3g} logits"
    return f"differs from plain decoding from token {check.first_divergence} on{gap}"


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the video, the pictures and results.json.")] = Path("demo-out"),
    repeats: Annotated[int, typer.Option(help="Runs of each method.", min=1)] = 3,
    samples: Annotated[int, typer.Option(help="Held-out videos for the table of scorers.", min=1)] = 3,
    debug: Debug = False,
) -> None:
    """The bundled pair on a generated video: the answer, tables of methods and of scorers, pictures."""
    from rushes.progress import quiet_libraries, working

    with working("loading"):
        quiet_libraries()
        from rushes.demo.run import run_demo
    run_demo(out, repeats=repeats, samples=samples, say=typer.echo)


app.command()(show)
app.command()(plan)


app.command()(bench)
app.command()(serve)


@app.command()
def check(
    target: Annotated[str, typer.Argument(help="Checkpoint folder or hub id.")],
    draft: Annotated[str, typer.Argument(help="Checkpoint folder or hub id.")],
    debug: Debug = False,
) -> None:
    """Would this pair work? Reads configs and tokenizers only, no weights."""
    from rushes.progress import quiet_libraries, working

    with working("reading configs"):
        quiet_libraries()
        from rushes.checkpoints import check as verdict

        reasons = verdict(target, draft)
    for reason in reasons:
        typer.echo(f"no: {reason}")
    if reasons:
        raise RushesError(f"{draft} cannot draft for {target}; what stands in the way is on stdout")
    typer.echo(f"yes: {draft} can draft for {target} (same family protocol, same tokens, both can roll back)")


@app.command()
def methods(debug: Debug = False) -> None:
    """The table of methods and what each is made of."""
    from rushes import methods as known
    from rushes import support
    from rushes.parts import signature

    typer.echo(f"{'method':<10} {'lossless':<9} {'scorer+drafter+verifier+schedule':<38} what it is")
    for name, (recipe, words) in known.METHODS.items():
        lossless = "yes" if known.method(name).lossless else "no"
        typer.echo(f"{name:<10} {lossless:<9} {recipe or '-':<38} {words}")
    typer.echo("\nor spell one out from these parts; parameters follow colons, as in hippo:crop=2:")
    for kind, parts in (
        ("scorer", known.SCORERS),
        ("drafter", known.DRAFTERS),
        ("verifier", known.VERIFIERS),
        ("schedule", known.SCHEDULES),
    ):
        for i, (name, part) in enumerate(parts.items()):
            typer.echo(f"  {'' if i else kind:<9} {signature(name, part)}")
    typer.echo("\nEqual to transformers' generate, greedy and in fp32, in this version's tests:\n")
    typer.echo(support.load().table())


def main() -> None:
    """Entry point: exit code 0, 2 for bad use or bad input, 1 for a failure of our own, 130 for Ctrl-C."""
    debug = "--debug" in sys.argv
    interrupted = _watch_interrupts()
    try:
        # Not `app()`: it has ways of its own with interrupts and closed pipes.
        command = typer.main.get_command(app)
        with command.make_context("rushes", sys.argv[1:] or ["--help"]) as context:
            command.invoke(context)
    except typer.Exit as end:
        sys.exit(end.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", 130, debug)
    except BrokenPipeError:  # the reader of our stdout went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
        sys.exit(0)
    except Exception as error:
        if interrupted:  # libraries may turn an interrupt into a failed import
            _fail("interrupted", 130, debug)
        if isinstance(error, RushesError):
            _fail(str(error), 2, debug)
        if hasattr(error, "format_message"):  # typer's usage errors
            _fail(f"{error.format_message().rstrip('.')}; see `rushes --help`", 2)
        hint = "" if debug else " (run with --debug for the traceback)"
        _fail(f"internal error, {type(error).__name__}: {error}{hint}", 1, debug)
    finally:
        if interrupted and hasattr(signal, "setitimer"):  # heard: nothing comes again while Python ends
            signal.setitimer(signal.ITIMER_REAL, 0)


def _watch_interrupts() -> list[int]:
    """A list that is not empty any more once Ctrl-C was pressed, whatever became of the exception."""
    pressed: list[int] = []
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return pressed  # ignored, as behind a shell's `&`, or somebody else's
    if threading.current_thread() is not threading.main_thread():
        return pressed

    def note(number: int, frame: Any) -> None:
        pressed.append(number)
        if hasattr(signal, "setitimer"):  # raised in a destructor or a callback, an interrupt is lost: then once more
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        signal.default_int_handler(signal.SIGINT, frame)

    signal.signal(signal.SIGINT, note)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, note)
    return pressed


def _fail(message: str, code: int, debug: bool = False) -> NoReturn:
    if debug:
        traceback.print_exc()
    print(f"rushes: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
