"""How much each candidate depends on the video (LVSpec, ACL 2026; `methods.md` section 5)."""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def directions(states: Tensor) -> Tensor:
    """(m, H) states -> (m, H) of length 1, in the same type: what `relevance` compares with, kept for a request."""
    return normalize(states.float(), dim=-1).to(states.dtype)


def relevance(states: Tensor, video: Tensor, top: int) -> Tensor:
    """A_s = mean of the `top` largest cosines between a candidate's state and the video tokens' states.

    Args:
        states: (n, H) the target's hidden states at the candidates.
        video: (m, H) `directions` of the same layer's states at the video tokens.
        top: N, 1..m.

    Returns:
        (n,) fp32 in -1..1.
    """
    cosines = directions(states) @ video.T  # one product for the whole window
    return cosines.float().topk(top, dim=-1).values.mean(-1) if len(states) else torch.zeros(0)
