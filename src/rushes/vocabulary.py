"""Do two models speak the same tokens? Token maps decide, not the padded sizes of the embedding matrices."""

from collections.abc import Mapping
from typing import Any

from rushes.errors import RushesError


def common_vocabulary(target: Mapping[str, int], draft: Mapping[str, int]) -> int:
    """Rows that stand for a token in both models: one past the largest id of the shared token map.

    Raises:
        RushesError: The maps differ; the message names the first differing token.
    """
    difference = first_difference(target, draft)
    if difference is not None:
        raise RushesError(f"target and draft have different tokens: {difference}; take a draft of the same family")
    return max(target.values()) + 1


def first_difference(target: Mapping[str, int], draft: Mapping[str, int]) -> str | None:
    """The token with the lowest id on which two maps disagree, in words; None if they are equal."""
    if target == draft:
        return None
    t, d = ({i: token for token, i in names.items()} for names in (target, draft))
    for i in sorted(t.keys() | d.keys()):
        if t.get(i) != d.get(i):
            a, b = (f"{x!r}" if x is not None else "no token" for x in (t.get(i), d.get(i)))
            return f"token {i} is {a} in the target and {b} in the draft"
    return "one token has two ids"


def refuse_different_vision(target: Any, draft: Any) -> None:
    """The draft reads what the target's processor made: patches must be cut and marked the same way for both.

    Args:
        target, draft: Configs.

    Raises:
        RushesError: They differ; the message names the first differing setting.
    """
    marks = ("video_token_id", "image_token_id")
    patches = ("patch_size", "temporal_patch_size", "spatial_merge_size", "in_channels")
    pairs = [(name, target, draft) for name in marks]
    pairs += [(name, target.vision_config, draft.vision_config) for name in patches]
    for name, a, b in pairs:
        ours, theirs = getattr(a, name, None), getattr(b, name, None)
        if ours != theirs:
            raise RushesError(
                f"target and draft read videos differently: {name} is {ours} in the target and {theirs} in the draft; "
                "take a draft of the same family"
            )
