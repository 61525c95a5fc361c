"""What `rushes demo` and `rushes bench` do with the stand-in pair."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from rushes.atomic import make_folder
from rushes.bench.report import Say, print_table, save
from rushes.bench.side_by_side import PLAIN, Question, Runs, run_methods, table
from rushes.bench.standin import parameters
from rushes.demo import bundled
from rushes.demo.fairness import answers_of, as_json, compare_scorers, print_scorers
from rushes.demo.held_out import DEMO_SCENES, DEMO_SECONDS, held_out_clip, write_clip
from rushes.demo.judge import Score
from rushes.demo.scenes import Clip
from rushes.demo.wording import describe
from rushes.pair import Pair
from rushes.pictures import draw_kept
from rushes.progress import working
from rushes.prompting import DEFAULT_PROMPT

DEMO_METHODS = ("ar", "sd", "specvlm", "hippo", "lvspec", "rush")


def question(clip: Clip, path: Path) -> Question:
    """Ask for a description, judged against the clip's truth."""

    def score(text: str) -> float:
        counted = Score.empty()
        counted.add(text, clip)
        return counted.f1()

    return Question(str(path), DEFAULT_PROMPT, score)


def run_demo(out: Path, *, repeats: int, samples: int, say: Say, new_tokens: int = 120) -> None:
    """Write a video, answer a question about it with three methods, print a table, save pictures; compare scorers.

    Raises:
        RushesError: `out` cannot be written to.
    """
    out = make_folder(out)
    clip = held_out_clip(0, DEMO_SCENES, DEMO_SECONDS)
    video = write_clip(clip, out / "demo.mp4")
    say(f"Video: {video} ({len(clip.scenes)} scenes, {clip.duration_s:.0f} s)")
    with working("loading the stand-in pair"):
        pair = bundled.standins()
    say(_about(pair))
    runs = _run(pair, [question(clip, video)], list(DEMO_METHODS), repeats, new_tokens, 0.1)
    answer = runs.answers["specvlm"][0]
    say(f"\nQuestion: {DEFAULT_PROMPT}\nAnswer: {answer.text}\n")
    say(f"Truth: {describe(clip, np.random.default_rng(0)).answer}\n")
    rows = table(runs)
    print_table(rows, say)
    inputs, read = pair.inputs(str(video), DEFAULT_PROMPT)
    assert read is not None
    t, h, w = inputs["video_grid_thw"][0].tolist()
    for name in ("sd", "specvlm"):
        kept = runs.answers[name][0].kept_indices
        picture = out / f"kept-{name}.png"
        words = f"{name}: the draft sees {len(kept)} of {answer.video_tokens} video tokens (lit)"
        seconds = read.timestamps_s.tolist()
        draw_kept(read.frames, (t, h // 2, w // 2), kept, picture, title=words, seconds=seconds)
        say(f"Picture: {picture}")
    say("\nWhat each scorer is worth, on the bundled pair itself in fp32:")
    with _bar(answers_of(samples)) as advance:
        cells = compare_scorers(bundled.pair(), samples, max_new_tokens=new_tokens, each=advance)
    print_scorers(cells, say)
    save(out / "results.json", rows, pair, runs, repeats, scorers=as_json(cells))
    say(f"Figures: {out / 'results.json'}")


def run_bench(
    out: Path, methods: list[str], *, samples: int, repeats: int, max_new_tokens: int, keep: float, say: Say
) -> None:
    """Methods side by side on held-out demo videos of the demo's length.

    Raises:
        RushesError: `out` cannot be written to.
    """
    out = make_folder(out)
    folder = make_folder(out / "videos")
    with working("loading the stand-in pair"):
        pair = bundled.standins()
    say(_about(pair))
    questions = []
    for i in range(samples):
        clip = held_out_clip(i, DEMO_SCENES, DEMO_SECONDS)
        questions.append(question(clip, write_clip(clip, folder / f"{i:03d}.mp4")))
    runs = _run(pair, questions, methods, repeats, max_new_tokens, keep)
    rows = table(runs)
    print_table(rows, say)
    save(out / "results.json", rows, pair, runs, repeats)
    say(f"Figures: {out / 'results.json'}")


def _about(pair: Pair) -> str:
    assert pair.draft is not None
    big, small = (parameters(m.model) / 1e6 for m in (pair.target, pair.draft))
    return (
        f"Models: stand-ins. The bundled pair is tiny; here it is padded to {big:.0f}M (target) and {small:.0f}M\n"
        "(draft) parameters in bf16, which changes what a step costs and not what the models say.\n"
        "Speedups are ratios to plain decoding (ar) in this run."
    )


def _run(
    pair: Pair, questions: list[Question], methods: list[str], repeats: int, max_new_tokens: int, keep: float
) -> Runs:
    names = [PLAIN, *(m for m in methods if m != PLAIN)]
    with _bar(len(names) * len(questions) * repeats) as advance:
        return run_methods(
            pair,
            questions,
            methods,
            keep=keep,
            max_new_tokens=max_new_tokens,
            repeats=repeats,
            each=lambda name, _: advance(name),
        )


@contextmanager
def _bar(answers: int) -> Iterator[Callable[..., None]]:
    """A bar on a terminal, nothing elsewhere; gives what to call after each answer."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("answering", total=answers)
        yield lambda name="answering": bar.update(task, advance=1, description=name)
