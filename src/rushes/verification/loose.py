"""Loose verification of a chain: what may pass although the target would have said something else.

Every rule is a pure function of the window and what the target made of it; `judge` walks down the chain. None of it
is lossless: an accepted draft token stays in the target's context.
"""

from collections.abc import Sequence, Set

import torch
from torch import Tensor

from rushes.window import TARGET, Mark, Verdict, Window

FLY_TOP = 3  # tokens whose entropy says whether the target hesitates


def strict_count(candidates: int, share: float) -> int:
    """How many of `candidates` stay strict when the share `share` (lambda) of them is relaxed; never too few."""
    return candidates - int(share * candidates + 1e-9)


def least_relevant(relevance: Sequence[float], share: float, known: Sequence[float] = ()) -> set[int]:
    """The candidates that are relaxed: the least relevant share of the reference set.

    Args:
        relevance: (n,) of the window's candidates.
        share: lambda, the fraction of the reference set that is relaxed.
        known: Relevances seen earlier in the answer that belong to the reference set; none make it the window itself.

    Returns:
        Indices into the window. Between equals the later one is relaxed first.
    """
    everything = [*known, *relevance]
    order = sorted(range(len(everything)), key=lambda i: (-everything[i], i))
    relaxed = order[strict_count(len(everything), share) :]
    return {i - len(known) for i in relaxed if i >= len(known)}


def hesitates(logits: Tensor, nats: float) -> list[bool]:
    """Where the target hesitates: entropy of its three likeliest tokens, among themselves, of `nats` or more.

    Args:
        logits: (n, V).
    """
    top = logits.float().topk(min(FLY_TOP, logits.shape[-1]), dim=-1).values.softmax(-1)
    entropy = -(top * top.clamp_min(torch.finfo(top.dtype).tiny).log()).sum(-1)
    return (entropy >= nats).tolist()


def deferred(
    tokens: Sequence[int], choices: Sequence[int], unsure: Sequence[bool], ahead: int, strict: int
) -> set[int]:
    """FLy's rule: a mismatch passes where the target hesitates and agrees with all of the next candidates.

    Args:
        tokens: (n,) candidates of a chain.
        choices: (n + 1,) the target's; `choices[i]` stands where candidate i does.
        unsure: (n,) does the target hesitate there?
        ahead: Candidates behind a mismatch that must all match (the deferred window).
        strict: The last so many positions of the window never pass.

    Returns:
        Indices of candidates that may pass.
    """
    matches = [token == choice for token, choice in zip(tokens, choices, strict=False)]
    return {
        i
        for i in range(len(tokens) - strict)
        if unsure[i] and i + ahead < len(tokens) and all(matches[i + 1 : i + 1 + ahead])
    }


def judge(
    window: Window,
    choices: Sequence[int],
    relaxed: Set[int],
    *,
    shift: int = 0,
    guarded: Set[int] = frozenset(),
    relevance: Sequence[float] | None = None,
) -> Verdict:
    """Walk down a chain: equal, relaxed or shifted candidates stay, the first other one ends the round.

    Args:
        window: A chain of n candidates.
        choices: (n + 1,) the target's argmax behind the last emitted token and behind every candidate.
        relaxed: Candidates that need not equal the target's choice.
        shift: w; a candidate that is among the target's choices at most w places away is accepted (LVSpec).
        guarded: Tokens that stay strict, whether the draft wrote them or the target would have.
        relevance: (n,) for the marks.
    """
    marks: list[Mark] = []
    for i, token in enumerate(window.tokens):
        found = None if relevance is None else relevance[i]
        mark = mark_of(token, choices, i, i not in relaxed, shift, guarded, found)
        marks.append(mark)
        if not mark.drafted:
            return Verdict(list(range(i)), choices[i], marks=tuple(marks))
    marks.append(TARGET)
    return Verdict(list(range(len(window))), choices[len(window)], marks=tuple(marks))


def mark_of(
    token: int,
    choices: Sequence[int],
    at: int,
    strict: bool,
    shift: int = 0,
    guarded: Set[int] = frozenset(),
    relevance: float | None = None,
) -> Mark:
    """How a candidate in the place of `choices[at]` fares; a "correction" is its rejection."""
    wanted = choices[at]
    if token == wanted:
        return Mark("exact", strict or wanted in guarded, relevance)
    protected = token in guarded or wanted in guarded
    if not protected and not strict:
        return Mark("relaxed", strict, relevance, wanted)
    if not protected and token in choices[max(0, at - shift) : at + shift + 1]:
        return Mark("shifted", strict, relevance, wanted)
    return Mark("correction", True, relevance, token)
