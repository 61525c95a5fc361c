"""Do two models speak the same tokens? Token maps decide, not the padded sizes of the embedding matrices."""

from collections.abc import Mapping

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
