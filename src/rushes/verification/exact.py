"""Greedy verification: the longest path that equals the target's own choices (SpecVLM, section 4)."""

from torch import Tensor

from rushes.window import Verdict, Window


def verify_exact(window: Window, logits: Tensor) -> Verdict:
    """Walk down the tree as long as the target's argmax is among the children.

    Args:
        window: n candidates.
        logits: (n + 1, V) the target's logits; row 0 follows the last emitted token, row i + 1 follows node i.

    Returns:
        The accepted path and the target's next choice behind it: together what plain greedy decoding emits.
    """
    choices = logits.argmax(-1).tolist()  # one transfer for the whole window
    path: list[int] = []
    node = -1
    while True:
        wanted = choices[node + 1]
        node = next((c for c in window.children.get(node, ()) if window.tokens[c] == wanted), -1)
        if node < 0:
            return Verdict(path, wanted)
        path.append(node)
