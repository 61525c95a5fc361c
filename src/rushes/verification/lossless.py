"""Speculative sampling that keeps the target's distribution, for chains and trees.

Leviathan et al. 2023 for one candidate; for siblings drawn without replacement the rejected mass is removed from p,
and from q's renormalised rest, before the next sibling is tested (`methods.md` section 7).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from rushes.sampling import draw
from rushes.window import Guess, Verdict, Window


def verify_sampling(
    window: Window, p: Tensor, generator: torch.Generator, guess: Callable[[], Guess | None] | None = None
) -> Verdict:
    """Accept each candidate x with probability min(1, p(x) / q(x)); on rejection go on with norm(max(0, p - q)).

    Args:
        window: n candidates with `q` (n, V): the distribution that each was drawn from, elder siblings taken out.
        p: (n + 1, V) the target's warped distributions; row 0 follows the last emitted token, row i + 1 node i.
        generator: On p's device.
        guess: Asked for one more candidate when the main path was accepted to its end; None, or one that returns
            None, draws the token behind it from p alone.

    Returns:
        The accepted path, and behind it the guess if that was accepted too, or else a token drawn from what is left
        of p where the path ends.
    """
    path: list[int] = []
    node = -1
    while True:
        rest = p[node + 1]
        accepted = -1
        for child in window.children.get(node, ()):
            assert window.q is not None, "sampling needs the draft's distributions"
            token, q = window.tokens[child], window.q[child].to(p.device)
            if float(q[token]) <= 0:  # q had nothing left to draw from: no candidate
                continue
            if _accepts(rest, token, q, generator):
                accepted = child
                break
            rest = _without(rest, q)
        if accepted < 0:
            break
        path.append(accepted)
        node = accepted
    found = guess() if guess is not None and path == window.main_path else None
    if found is None:
        return Verdict(path, draw(rest, generator))
    assert found.q is not None, "sampling needs the distribution that the guess was drawn from"
    q = found.q.to(p.device)
    if _accepts(rest, found.token, q, generator):
        return Verdict(path, found.token, guessed=True)
    return Verdict(path, draw(_without(rest, q), generator), guessed=True)


def _accepts(p: Tensor, token: int, q: Tensor, generator: torch.Generator) -> bool:
    """With probability min(1, p / q)."""
    chance = float(p[token]) / float(q[token])
    return chance >= 1 or float(torch.rand((), generator=generator, device=p.device)) < chance


def _without(p: Tensor, q: Tensor) -> Tensor:
    """What is left of p when a token that was drawn from q has been rejected."""
    left = (p - q).clamp_min(0)
    total = left.sum()
    # p equals q up to rounding: rejecting had no probability, and p itself is the right rest.
    return left / total if float(total) > 0 else p
