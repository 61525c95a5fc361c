"""Speculative sampling that keeps the target's distribution, for chains and trees.

Leviathan et al. 2023 for one candidate; for siblings drawn without replacement the rejected mass is removed from p,
and from q's renormalised rest, before the next sibling is tested (`methods.md` section 7).
"""

import torch
from torch import Tensor

from rushes.sampling import draw
from rushes.window import Verdict, Window


def verify_sampling(window: Window, p: Tensor, generator: torch.Generator) -> Verdict:
    """Accept each candidate x with probability min(1, p(x) / q(x)); on rejection go on with norm(max(0, p - q)).

    Args:
        window: n candidates with `q` (n, V): the distribution that each was drawn from, elder siblings taken out.
        p: (n + 1, V) the target's warped distributions; row 0 follows the last emitted token, row i + 1 node i.
        generator: On p's device.

    Returns:
        The accepted path, and a token drawn from what is left of p where the path ends.
    """
    path: list[int] = []
    node = -1
    while True:
        rest = p[node + 1]
        accepted = -1
        for child in window.children.get(node, ()):
            assert window.q is not None, "sampling needs the draft's distributions"
            token, q = window.tokens[child], window.q[child].to(p.device)
            proposed = float(q[token])
            if proposed <= 0:  # q had nothing left to draw from: no candidate
                continue
            chance = float(rest[token]) / proposed
            if chance >= 1 or float(torch.rand((), generator=generator, device=p.device)) < chance:
                accepted = child
                break
            left = (rest - q).clamp_min(0)
            total = left.sum()
            # p equals q up to rounding: rejecting had no probability, and p itself is the right rest.
            rest = left / total if float(total) > 0 else rest
        if accepted < 0:
            return Verdict(path, draw(rest, generator))
        path.append(accepted)
        node = accepted
