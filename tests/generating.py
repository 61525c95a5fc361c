"""One tiny model, a draft for it, and a call of `generate` with our decoding inside."""

from functools import cache
from typing import Any

import torch

import rushes
from families import FAMILIES
from tiny import noisy

NEW = 20


@cache
def model(family: str = "qwen2_5_vl") -> Any:
    return FAMILIES[family].make()


@cache
def draft(family: str = "qwen2_5_vl", scale: float = 0.05) -> Any:
    return noisy(model(family), scale)


@cache
def video(family: str = "qwen2_5_vl") -> dict[str, Any]:
    return FAMILIES[family].inputs(model(family))


def ours(target: Any, inputs: dict[str, Any], **how: Any) -> Any:
    length = {} if how.keys() & {"max_length", "generation_config"} else {"max_new_tokens": NEW}
    how = {"draft": draft(), **length, **how}
    return target.generate(**inputs, custom_generate=rushes.custom_generate, **how)


def same(made: torch.Tensor, wanted: torch.Tensor) -> bool:
    return torch.equal(made, wanted) and (made.dtype, made.device) == (wanted.dtype, wanted.device)
