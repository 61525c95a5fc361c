"""What is said about a clip can be read back, and a wrong word costs."""

import numpy as np
import pytest

from rushes.demo.judge import ATTRIBUTES, Score, read_scenes
from rushes.demo.scenes import Clip, sample_clip
from rushes.demo.wording import ask, describe


def clip_of(seed: int, scenes: int | None = None) -> Clip:
    return sample_clip(np.random.default_rng(seed), scenes)


def f1(text: str, clip: Clip) -> float:
    score = Score.empty()
    score.add(text, clip)
    return score.f1()


@pytest.mark.parametrize("scenes", range(1, 9))
def test_every_wording_of_the_truth_is_read_back_whole(scenes: int) -> None:
    for seed in range(40):
        clip = clip_of(seed, scenes)
        sample = describe(clip, np.random.default_rng(seed))
        truth = [{name: getattr(scene, name) for name in ATTRIBUTES} for scene in clip.scenes]
        assert read_scenes(sample.answer) == truth
        for scene, start, end in sample.spans:
            assert clip.scenes[scene].shape in sample.answer[start:end]


def test_a_wrong_a_missing_and_an_extra_fact_each_cost() -> None:
    clip = clip_of(3, 2)
    text = describe(clip, np.random.default_rng(0)).answer
    first = clip.scenes[0]
    wrong = next(c for c in ("red", "blue") if c != first.color)
    assert f1(text, clip) == 1
    assert f1(text.replace(f"{first.color} {first.shape}", f"{wrong} {first.shape}", 1), clip) == pytest.approx(7 / 8)
    assert f1(text, Clip(clip.scenes[:1])) == pytest.approx(2 * 4 / (8 + 4))
    assert f1("", clip) == 0
    assert f1(text, Clip(clip.scenes[::-1])) < 1


def test_answers_to_short_questions_follow_from_the_clip() -> None:
    kinds = set()
    for seed in range(300):
        clip = clip_of(seed)
        sample = ask(clip, np.random.default_rng(seed))
        kinds.add(sample.kind)
        if sample.kind == "choice":
            options = dict(part.split(". ", 1) for part in _options(sample.prompt))
            chosen = options[sample.answer].strip().rstrip(".")
            assert any(chosen in _facts(scene) for scene in clip.scenes)
        if sample.kind == "after":
            asked = sample.prompt.removeprefix("What comes after the ").rstrip("?")
            things = [f"{s.color} {s.shape}" for s in clip.scenes]
            assert things[things.index(asked) + 1] in sample.answer
    assert kinds == {"count", "after", "motion", "scene", "choice"}


def _options(prompt: str) -> list[str]:
    listed = prompt.split("? ", 1)[1].removesuffix(" Answer with a letter.")
    starts = [listed.index(f"{letter}. ") for letter in "ABCD"]
    return [listed[a:b] for a, b in zip(starts, [*starts[1:], len(listed)], strict=True)]


def _facts(scene: object) -> set[str]:
    from rushes.demo.wording import MOTION_PHRASES

    motion = MOTION_PHRASES[scene.motion][0]  # type: ignore[attr-defined]
    return {scene.color, scene.shape, scene.background, f"it {motion}"}  # type: ignore[attr-defined]
