"""The attention that language models run under rushes: torch's sdpa, without copies of the KV heads.

transformers repeats every KV head before sdpa whenever a mask is given, which copies the whole cache in every layer of
every verification pass. Folding the query heads of one KV head into the rows gives the same products without a copy:
(1, heads, rows, D) becomes (1, kv_heads, groups * rows, D). On 2 CPU cores in bf16 that is 2 to 10 times faster than
both the copy and `enable_gqa`.
"""

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rushes._transformers import transformers

NAME = "rushes_sdpa"


class Recorder(Protocol):
    """Something that looks at a layer's rotated queries and keys while a prefill runs."""

    def __call__(self, layer: int, query: Tensor, key: Tensor, scaling: float) -> None:
        """query (1, heads, rows, D), key (1, kv_heads, keys, D)."""


def folded_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    recorder: Recorder | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: returns (1, rows, heads, D). Other masks get the stock sdpa."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if recorder is not None:
        recorder(int(module.layer_idx), query, key, scale)  # type: ignore[arg-type]
    batch, heads, rows, size = query.shape
    kv_heads = key.shape[1]
    masked = attention_mask is not None and attention_mask.dtype == torch.bool and attention_mask.shape[1] == 1
    if not masked and not (rows == 1 and attention_mask is None):
        return _stock(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    groups = heads // kv_heads
    query = query.reshape(batch, kv_heads, groups * rows, size)
    mask = attention_mask
    if mask is not None and groups > 1:
        mask = mask.expand(-1, groups, -1, -1).reshape(mask.shape[0], 1, groups * rows, -1)
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    return out.reshape(batch, heads, rows, -1).transpose(1, 2).contiguous(), None


def _stock(*args: Any, **kwargs: Any) -> Any:
    return transformers.AttentionInterface()["sdpa"](*args, **kwargs)


def use_folded_attention(language_model: Any) -> None:
    """Let this language model run `folded_attention`; its own `generate` keeps working and gives the same tokens."""
    if language_model.config._attn_implementation == NAME:
        return
    transformers.AttentionInterface.register(NAME, folded_attention)
    transformers.AttentionMaskInterface.register(NAME, transformers.AttentionMaskInterface()["sdpa"])
    language_model.config._attn_implementation = NAME
