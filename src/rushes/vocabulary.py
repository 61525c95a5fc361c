"""Do two models speak the same tokens, of text and of pictures? Token maps decide, not padded embedding matrices."""

from collections.abc import Mapping
from typing import Any

from rushes.errors import RushesError
from rushes.models.registry import adapter_for


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
    """The draft reads what the target's processor made: pictures must be cut up and marked the same way for both.

    Args:
        target, draft: Configs.

    Raises:
        RushesError: They are of different families, or differ in what the family's adapter says must agree; the message
            names the first difference.
    """
    ours, theirs = adapter_for(target, "target"), adapter_for(draft, "draft")
    if ours is not theirs and (not ours.kin or ours.kin != theirs.kin):
        raise RushesError(
            f"the target is a {target.model_type} and the draft a {draft.model_type}: they read videos differently; "
            "take a draft of the target's family"
        )
    for name in ours.must_agree:
        a, b = (_setting(config, name) for config in (target, draft))
        if a != b:
            raise RushesError(
                f"target and draft read videos differently: {name} is {a} in the target and {b} in the draft; "
                "take a draft of the same family"
            )


def _setting(config: Any, name: str) -> Any:
    for part in name.split("."):
        config = getattr(config, part, None)
    return config
