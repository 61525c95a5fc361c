"""The facts of a description, counted attribute by attribute against a clip's truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from rushes.demo.judge import read_scenes
from rushes.demo.scenes import Clip

FACTS = ("object", "color", "motion", "direction", "background", "order")
DIRECTIONS = ("left", "right", "up", "down")


@dataclass(frozen=True, slots=True)
class Count:
    """Of one attribute: how often it was claimed, how often there was something to claim, how often it was right."""

    claimed: int = 0
    true: int = 0
    right: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.claimed + other.claimed, self.true + other.true, self.right + other.right)

    @property
    def precision(self) -> float:
        return self.right / self.claimed if self.claimed else 0.0

    @property
    def recall(self) -> float:
        return self.right / self.true if self.true else 0.0

    @property
    def f1(self) -> float:
        return 2 * self.right / (self.claimed + self.true) if self.claimed + self.true else 0.0


Facts = dict[str, Count]


def facts_of(text: str, clip: Clip) -> Facts:
    """Count a description against its clip.

    Scenes are compared one by one in their order; `motion` is the kind of motion, with all four ways of moving one
    kind, and `direction` which way, where there is or should be one. `order` counts the scenes whose object and colour
    come in the clip's order, whatever else stands between them.
    """
    claims = [_facts(claim) for claim in read_scenes(text)]
    truths = [
        _facts({name: str(getattr(scene, name)) for name in ("color", "shape", "background", "motion")})
        for scene in clip.scenes
    ]
    made = {name: _compare(name, claims, truths) for name in FACTS if name != "order"}
    said, seen = ([(one.get("color"), one.get("object")) for one in scenes] for scenes in (claims, truths))
    blocks = SequenceMatcher(None, said, seen, autojunk=False).get_matching_blocks()
    made["order"] = Count(len(said), len(seen), sum(block.size for block in blocks))
    return made


def _facts(scene: Mapping[str, str]) -> dict[str, str]:
    made = {
        to: scene[name]
        for name, to in (("shape", "object"), ("color", "color"), ("background", "background"))
        if name in scene
    }
    motion = scene.get("motion")
    if motion in DIRECTIONS:
        made |= {"motion": "moves", "direction": motion}
    elif motion:
        made["motion"] = motion
    return made


def _compare(name: str, claims: Sequence[Mapping[str, str]], truths: Sequence[Mapping[str, str]]) -> Count:
    right = sum(name in claim and claim[name] == truth.get(name) for claim, truth in zip(claims, truths, strict=False))
    return Count(sum(name in claim for claim in claims), sum(name in truth for truth in truths), right)


def total(many: Sequence[Facts]) -> Count:
    """All facts of many descriptions together."""
    return sum((count for facts in many for count in facts.values()), Count())
