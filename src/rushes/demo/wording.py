"""What is said about a clip: descriptions in varied wording, short questions, multiple choice.

Every sentence about a scene is built so that `judge.py` can read the facts back: each scene opens with exactly one
"<color> <shape>", names its background as "<background> background" and its motion with one of the phrases below.
"""

from dataclasses import dataclass

import numpy as np

from rushes.demo.scenes import BACKGROUNDS, COLORS, MOTIONS, SHAPES, Clip, Scene

MOTION_PHRASES: dict[str, tuple[str, ...]] = {
    "left": ("moves to the left", "slides to the left"),
    "right": ("moves to the right", "slides to the right"),
    "up": ("moves up", "rises to the top"),
    "down": ("moves down", "sinks to the bottom"),
    "grow": ("grows larger", "gets bigger"),
    "shrink": ("shrinks", "gets smaller"),
    "blink": ("blinks on and off", "flashes on and off"),
    "still": ("stays still", "does not move"),
}
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
DESCRIBE_PROMPTS = (
    "Describe the video in detail.",
    "Describe this video in detail.",
    "What happens in this video? Describe every scene.",
    "Please give a detailed description of the video.",
    "Watch the video and tell me everything you see, scene by scene.",
    "Can you describe what the video shows?",
)
_USUAL = (0.72, 0.28)  # one wording is more common than the other, as in real text


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt about a clip and its right answer.

    `spans` gives, for descriptions, the character range of the answer that speaks of each scene.
    """

    kind: str
    prompt: str
    answer: str
    spans: tuple[tuple[int, int, int], ...] = ()  # (scene, start, end)


def describe(clip: Clip, rng: np.random.Generator) -> Sample:
    """A detailed description; clips of few scenes get more sentences for each."""
    count = len(clip.scenes)
    plural = "scene" if count == 1 else "scenes"
    answer = _pick(
        rng, (f"The video has {NUMBERS[count - 1]} {plural}.", f"The video shows {NUMBERS[count - 1]} {plural}.")
    )
    spans = []
    for i, scene in enumerate(clip.scenes):
        text = " " + _scene_text(scene, i, count, rng)
        spans.append((i, len(answer), len(answer) + len(text)))
        answer += text
    answer += " " + _pick(rng, ("After that the video ends.", "Then the video comes to an end."))
    return Sample("describe", str(rng.choice(DESCRIBE_PROMPTS)), answer, tuple(spans))


def _scene_text(scene: Scene, index: int, count: int, rng: np.random.Generator) -> str:
    ordinal = ORDINALS[index]
    thing = f"{scene.color} {scene.shape}"
    paper = f"{_article(scene.background)} {scene.background} background"
    phrase = _pick(rng, MOTION_PHRASES[scene.motion])
    which = int(rng.choice(3, p=(0.6, 0.25, 0.15)))
    opening = (
        f"In the {ordinal} scene we see {_article(thing)} {thing} on {paper}.",
        f"The {ordinal} scene shows {_article(thing)} {thing} in front of {paper}.",
        f"In the {ordinal} scene there is {paper} and on it {_article(thing)} {thing}.",
    )[which]
    text = f"{opening} {_pick(rng, ('The shape', 'It'))} {phrase}"
    if count > 5:
        return text + "."
    text += _pick(rng, (" while the background stays the same.", " and nothing else changes."))
    if count > 2:
        return text
    text += f" The {scene.shape} is filled with {_article(scene.color)} {scene.color} color, and its outline is sharp."
    if count == 1:
        text += f" Behind it the picture is plain {scene.background} from edge to edge, without any other object."
    return text


def ask(clip: Clip, rng: np.random.Generator) -> Sample:
    """A short question whose answer is a few words, or multiple choice answered by a letter."""
    makers = (_ask_count, _ask_after, _ask_motion, _ask_scene, _ask_choice, _ask_choice)
    while True:
        sample = makers[int(rng.integers(len(makers)))](clip, rng)
        if sample is not None:
            return sample


def _ask_count(clip: Clip, rng: np.random.Generator) -> Sample:
    count = len(clip.scenes)
    verb, noun = ("is", "scene") if count == 1 else ("are", "scenes")
    prompt = _pick(rng, ("How many scenes are there?", "How many scenes does the video have?"))
    return Sample("count", prompt, f"There {verb} {NUMBERS[count - 1]} {noun}.")


def _ask_after(clip: Clip, rng: np.random.Generator) -> Sample | None:
    things = [(s.color, s.shape) for s in clip.scenes]
    pairs = [i for i in range(len(things) - 1) if things.count(things[i]) == 1]
    if not pairs:
        return None
    i = int(rng.choice(pairs))
    this, after = (f"{color} {shape}" for color, shape in things[i : i + 2])
    return Sample("after", f"What comes after the {this}?", f"{_article(after).capitalize()} {after} comes after it.")


def _ask_motion(clip: Clip, rng: np.random.Generator) -> Sample | None:
    things = [(s.color, s.shape) for s in clip.scenes]
    unique = [s for s in clip.scenes if things.count((s.color, s.shape)) == 1]
    if not unique:
        return None
    scene = unique[int(rng.integers(len(unique)))]
    prompt = _pick(rng, ("Which way does the {} move?", "What does the {} do?")).format(f"{scene.color} {scene.shape}")
    return Sample("motion", prompt, f"It {MOTION_PHRASES[scene.motion][0]}.")


def _ask_scene(clip: Clip, rng: np.random.Generator) -> Sample:
    i = int(rng.integers(len(clip.scenes)))
    scene, ordinal = clip.scenes[i], ORDINALS[i]
    prompt, answer = (
        (f"What color is the shape in the {ordinal} scene?", f"It is {scene.color}."),
        (f"Which shape is in the {ordinal} scene?", f"It is {_article(scene.shape)} {scene.shape}."),
        (f"What color is the background in the {ordinal} scene?", f"It is {scene.background}."),
        (
            f"What happens in the {ordinal} scene?",
            f"The {scene.color} {scene.shape} {MOTION_PHRASES[scene.motion][0]}.",
        ),
    )[int(rng.integers(4))]
    return Sample("scene", prompt, answer)


def _ask_choice(clip: Clip, rng: np.random.Generator) -> Sample:
    i = int(rng.integers(len(clip.scenes)))
    scene, ordinal = clip.scenes[i], ORDINALS[i]
    question, right, others = (
        (f"Which shape is in the {ordinal} scene?", scene.shape, SHAPES),
        (f"What color is the shape in the {ordinal} scene?", scene.color, tuple(COLORS)),
        (f"What color is the background in the {ordinal} scene?", scene.background, tuple(BACKGROUNDS)),
        (f"What does the shape do in the {ordinal} scene?", scene.motion, MOTIONS),
    )[int(rng.integers(4))]
    wrong = [o for o in others if o != right]
    options = [right, *(wrong[int(k)] for k in rng.permutation(len(wrong))[:3])]
    options = [options[int(k)] for k in rng.permutation(4)]
    letter = "ABCD"[options.index(right)]
    if question.startswith("What does"):
        options = [f"it {MOTION_PHRASES[o][0]}" for o in options]
    listed = " ".join(f"{name}. {text}" for name, text in zip("ABCD", options, strict=True))
    return Sample("choice", f"{question} {listed} Answer with a letter.", letter)


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiou" else "a"


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.choice(len(options), p=_USUAL))]
