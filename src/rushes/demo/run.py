"""What `rushes demo` does, and the demo's own questions for `rushes bench`."""

from pathlib import Path

import numpy as np

from rushes.atomic import make_folder
from rushes.bench.command import measure, progress
from rushes.bench.outcome import save
from rushes.bench.presets import trials
from rushes.bench.standin import parameters
from rushes.bench.tables import Say, print_rows
from rushes.bench.trial import Question
from rushes.demo import bundled
from rushes.demo.facts import facts_of, total
from rushes.demo.fairness import answers_of, as_json, compare_scorers, print_scorers
from rushes.demo.held_out import DEMO_SCENES, DEMO_SECONDS, held_out_clip, write_clip
from rushes.demo.scenes import Clip
from rushes.demo.wording import describe
from rushes.pair import Pair
from rushes.pictures import draw_kept
from rushes.progress import working
from rushes.prompting import DEFAULT_PROMPT

DEMO_METHODS = ("ar", "sd", "specvlm", "hippo", "lvspec", "rush")
JOURNAL = "answers.jsonl"


def question(clip: Clip, path: Path) -> Question:
    """Ask for a description, judged against the clip's truth."""

    def score(text: str) -> float:
        return total([facts_of(text, clip)]).f1

    return Question(str(path), DEFAULT_PROMPT, score, path.name)


def questions(folder: Path, samples: int) -> list[Question]:
    """Held-out videos of the demo's length, written into a folder."""
    clips = ((i, held_out_clip(i, DEMO_SCENES, DEMO_SECONDS)) for i in range(samples))
    return [question(clip, write_clip(clip, folder / f"{i:03d}.mp4")) for i, clip in clips]


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
    say(about(pair))
    (out / JOURNAL).unlink(missing_ok=True)  # a demo always runs
    made, bench = measure(
        pair,
        trials(DEMO_METHODS, 0.1),
        [question(clip, video)],
        out,
        repeats=repeats,
        max_new_tokens=new_tokens,
        asked={"command": "rushes demo"},
    )
    answer = bench.last["specvlm"]
    say(f"\nQuestion: {DEFAULT_PROMPT}\nAnswer: {answer.text}\n")
    say(f"Truth: {describe(clip, np.random.default_rng(0)).answer}\n")
    print_rows(made["rows"], say)
    inputs, read = pair.inputs(str(video), DEFAULT_PROMPT)
    assert read is not None
    t, h, w = inputs["video_grid_thw"][0].tolist()
    for name in ("sd", "specvlm"):
        kept = bench.last[name].kept_indices
        picture = out / f"kept-{name}.png"
        words = f"{name}: the draft sees {len(kept)} of {answer.video_tokens} video tokens (lit)"
        seconds = read.timestamps_s.tolist()
        draw_kept(read.frames, (t, h // 2, w // 2), kept, picture, title=words, seconds=seconds)
        say(f"Picture: {picture}")
    say("\nWhat each scorer is worth, on the bundled pair itself in fp32:")
    with progress(answers_of(samples)) as advance:
        cells = compare_scorers(
            bundled.pair(), samples, max_new_tokens=new_tokens, each=lambda: advance("comparing scorers")
        )
    print_scorers(cells, say)
    say(f"Figures: {save({**made, 'scorers': as_json(cells)}, out)}")


def about(pair: Pair) -> str:
    """What the stand-ins are, in words."""
    assert pair.draft is not None
    big, small = (parameters(m.model) / 1e6 for m in (pair.target, pair.draft))
    return (
        f"Models: stand-ins. The bundled pair is tiny; here it is padded to {big:.0f}M (target) and {small:.0f}M\n"
        "(draft) parameters in bf16, which changes what a step costs and not what the models say.\n"
        "Speedups are ratios to plain decoding (ar) in this run."
    )
