"""Read the facts back out of an answer and compare them with the clip's truth."""

import re
from collections import Counter
from dataclasses import dataclass

from rushes.demo.scenes import BACKGROUNDS, COLORS, SHAPES, Clip
from rushes.demo.wording import MOTION_PHRASES

ATTRIBUTES = ("color", "shape", "background", "motion")

_THING = re.compile(rf"\b({'|'.join(COLORS)}) ({'|'.join(SHAPES)})\b")
_PAPER = re.compile(rf"\b({'|'.join(BACKGROUNDS)}) background\b")
_MOTION = re.compile("|".join(re.escape(p) for phrases in MOTION_PHRASES.values() for p in phrases))
_MOTION_OF = {phrase: motion for motion, phrases in MOTION_PHRASES.items() for phrase in phrases}


def read_scenes(text: str) -> list[dict[str, str]]:
    """The scenes that a description claims, in order: one dict of the attributes it names for each.

    A scene begins with the sentence that holds a "<color> <shape>" and runs up to the next such sentence.
    """
    groups: list[str] = []
    for sentence in re.split(r"(?<=\.)\s+", text):
        if _THING.search(sentence):
            groups.append(sentence)
        elif groups:
            groups[-1] += " " + sentence
    scenes = []
    for group in groups:
        thing, paper, motion = _THING.search(group), _PAPER.search(group), _MOTION.search(group)
        scene = {"color": thing[1], "shape": thing[2]} if thing else {}
        if paper:
            scene["background"] = paper[1]
        if motion:
            scene["motion"] = _MOTION_OF[motion[0]]
        scenes.append(scene)
    return scenes


@dataclass(slots=True)
class Score:
    """Counts of attributes claimed, true and right, over any number of descriptions."""

    claimed: Counter[str]
    true: Counter[str]
    right: Counter[str]

    @classmethod
    def empty(cls) -> "Score":
        return cls(Counter(), Counter(), Counter())

    def add(self, text: str, clip: Clip) -> None:
        """Count one description against its clip, scene by scene in order."""
        claims = read_scenes(text)
        for i in range(max(len(claims), len(clip.scenes))):
            claim = claims[i] if i < len(claims) else {}
            truth = clip.scenes[i] if i < len(clip.scenes) else None
            for name in ATTRIBUTES:
                self.claimed[name] += name in claim
                self.true[name] += truth is not None
                self.right[name] += truth is not None and claim.get(name) == getattr(truth, name)

    def f1(self, *names: str) -> float:
        """Micro-averaged F1 over the attributes named (default: all four)."""
        names = names or ATTRIBUTES
        right, claimed, true = (sum(c[n] for n in names) for c in (self.right, self.claimed, self.true))
        return 2 * right / (claimed + true) if claimed + true else 0.0
