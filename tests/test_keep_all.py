"""A draft that keeps every video token is the unpruned draft, bit for bit in fp32."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor

from families import FAMILIES
from rushes import Pair
from rushes.methods import SCORERS
from tiny import noisy

BUDGETED = [name for name in SCORERS if name not in ("full", "none")]


def draft_logits(pair: Pair, inputs: dict[str, Any], method: str, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """All logits of the draft in one answer, in order."""
    seen: list[Tensor] = []
    model = pair.draft or pair.target
    logits = type(model).logits

    def kept(self: Any, hidden: Tensor) -> Tensor:
        made = logits(self, hidden)
        if self is model:
            seen.append(made.clone())
        return made

    with monkeypatch.context() as patch:
        patch.setattr(type(model), "logits", kept)
        pair.generate_inputs(inputs, method=method, keep=1.0, max_new_tokens=16)
    return seen


@pytest.mark.parametrize("drafter", ["chain", "tree", "sage", "self"])
@pytest.mark.parametrize("family", FAMILIES)
def test_keep_all_is_the_unpruned_draft_bit_for_bit(family: str, drafter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = FAMILIES[family].make()
    pair = Pair(deepcopy(model), None if drafter == "self" else noisy(model, 0.1))
    inputs = FAMILIES[family].inputs(model, videos=2, image=True)
    unpruned = draft_logits(pair, inputs, f"full+{drafter}+exact+sequential", monkeypatch)
    assert len(unpruned) > 3
    for scorer in BUDGETED:
        if SCORERS[scorer]().per_layer and drafter != "self":
            continue
        pruned = draft_logits(pair, inputs, f"{scorer}+{drafter}+exact+sequential", monkeypatch)
        assert len(pruned) == len(unpruned)
        assert all(torch.equal(a, b) for a, b in zip(pruned, unpruned, strict=True)), scorer
    blind = draft_logits(pair, inputs, f"none+{drafter}+exact+sequential", monkeypatch)
    assert any(not torch.equal(a, b) for a, b in zip(blind, unpruned, strict=False))
