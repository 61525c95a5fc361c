"""A batched forward through the stock modules, for training only.

transformers runs its vision attention window by window in a Python loop, which is fine for one video and slow for a
batch. All videos of a training batch have one frame size, so that frames can be a batch dimension. The modules and
their weights are the stock ones; a test holds this forward against the stock forward.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from rushes._transformers import transformers
from rushes.demo.data import Batch

Model = transformers.Qwen2_5_VLForConditionalGeneration


def vision_features(model: Model, patches: Tensor, grid: tuple[int, int]) -> Tensor:
    """(F, h * w, 1176) patches of F frame pairs -> (F * h * w / 4, H) merged features."""
    visual: Any = model.model.visual
    pairs, length, _ = patches.shape
    heads = visual.config.num_heads
    order, cos, sin, mask = _frame_layout(visual, grid, patches.dtype)
    x = F.linear(patches, visual.patch_embed.proj.weight.flatten(1))
    x = x.view(pairs, length // 4, 4, -1)[:, order].view(pairs, length, -1)
    for index, block in enumerate(visual.blocks):
        q, k, v = block.attn.qkv(block.norm1(x)).view(pairs, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
        q, k = q * cos + _rotate_half(q) * sin, k * cos + _rotate_half(k) * sin
        within = None if index in visual.fullatt_block_indexes else mask
        out = _attend(q, k, v, within, q.shape[-1] ** -0.5)
        x = x + block.attn.proj(out.transpose(1, 2).reshape(pairs, length, -1))
        x = x + block.mlp(block.norm2(x))
    merged = visual.merger(x.reshape(pairs * length, -1)).view(pairs, length // 4, -1)
    return merged[:, torch.argsort(order)].flatten(0, 1)


def _frame_layout(visual: Any, grid: tuple[int, int], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Any]:
    """Window order of a frame's cells, cos and sin (1, 1, L, D) in that order, and the window mask or None."""
    height, width = grid
    cells_high, cells_wide = height // 2, width // 2
    window = visual.window_size // visual.patch_size // 2
    row = torch.arange(cells_high).repeat_interleave(cells_wide)
    column = torch.arange(cells_wide).repeat(cells_high)
    name = (row // window) * -(-cells_wide // window) + column // window
    order = torch.argsort(name, stable=True)
    offsets = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 1]])
    place = torch.stack([row, column])[:, order, None] * 2 + offsets[:, None]
    freqs = place.reshape(2, -1, 1).float() * visual.rotary_pos_emb.inv_freq
    angle = torch.cat([freqs[0], freqs[1]], dim=-1)
    angle = torch.cat([angle, angle], dim=-1)
    windows = name[order].repeat_interleave(4)
    mask = None if int(windows.max()) == 0 else windows[:, None] == windows[None]
    return order, angle.cos().to(dtype)[None, None], angle.sin().to(dtype)[None, None], mask


def _rotate_half(x: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return torch.cat((-x[..., half:], x[..., :half]), dim=-1)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    # Two matrix products: forward and backward together take a quarter to a half of sdpa's time in bf16 on a CPU.
    scores = (q * scale) @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1) @ v


def _causal_attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, scaling: float, **_: Any
) -> tuple[Tensor, None]:
    groups = module.num_key_value_groups
    key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    length = query.shape[2]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    return _attend(query, key, value, causal, scaling).transpose(1, 2), None


def use_training_attention(model: Model) -> None:
    """Make `text_states` use plain matrix products; a model so prepared is for training only."""
    transformers.AttentionInterface.register("rushes_training", _causal_attention)
    model.model.language_model.config._attn_implementation = "rushes_training"


def text_states(model: Model, batch: Batch, features: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Final (normed) hidden states and those after each layer, all (B, S, H). Padding is on the right."""
    language: Any = model.model.language_model
    x = language.embed_tokens(batch.input_ids)
    rows, columns = batch.video_slots.unbind(1)
    x = x.index_put((rows, columns), features[batch.video_rows])
    rope = language.rotary_emb(x, batch.positions)
    states = []
    for layer in language.layers:
        x = layer(x, attention_mask=None, position_embeddings=rope)  # the training attention is causal by itself
        states.append(x)
    return language.norm(x), states
