"""The weights of a stand-in: a small model's, placed inside full-size matrices (see `standin.py` for the why)."""

import math
from typing import Any

import torch
from torch import Tensor, nn

NOISE_STD = 0.02  # the usual initializer_range
Module = Any  # transformers' modules declare no submodules that a type checker could follow


class Filler:
    """Replaces the meta tensors of a big module by weights on `device` in `dtype`, taken from a small module.

    A reader multiplies the residual: it is noise with the small matrix inside. A writer adds to the residual: it is
    zero with the small matrix inside. Index tensors say where the small rows and columns go.
    """

    def __init__(self, device: torch.device, dtype: torch.dtype, seed: int) -> None:
        self.device, self.dtype = device, dtype
        self.generator = torch.Generator(device).manual_seed(seed)

    def noise(self, shape: torch.Size) -> Tensor:
        empty = torch.empty(shape, device=self.device, dtype=self.dtype)
        return empty.normal_(std=NOISE_STD, generator=self.generator)

    def zeros(self, shape: torch.Size) -> Tensor:
        return torch.zeros(shape, device=self.device, dtype=self.dtype)

    def arange(self, n: int) -> Tensor:
        return torch.arange(n, device=self.device)

    def reader(
        self,
        big: Module,
        small: Module,
        rows: Tensor | None = None,
        columns: Tensor | None = None,
        source: Tensor | None = None,
    ) -> None:
        """big[rows][:, columns] = small[source], noise elsewhere; by default everything goes first."""
        source = self.arange(small.out_features) if source is None else source
        rows = self.arange(len(source)) if rows is None else rows
        columns = self.arange(small.in_features) if columns is None else columns
        weight = self.noise(big.weight.shape)
        weight[rows[:, None], columns] = small.weight.to(weight)[source]
        _set(big, "weight", weight)
        if small.bias is not None:
            bias = self.noise(big.bias.shape)
            bias[rows] = small.bias.to(bias)[source]
            _set(big, "bias", bias)

    def writer(self, big: Module, small: Module, columns: Tensor | None = None, *, trained: bool = True) -> None:
        """big[:n][:, columns] = small, zero elsewhere; zero everywhere in a layer that is not a trained one."""
        weight = self.zeros(big.weight.shape)
        if trained:
            rows = small.weight.shape[0]
            columns = self.arange(small.weight[0].numel()) if columns is None else columns
            weight.flatten(1)[:rows, columns] = small.weight.to(weight).flatten(1)
        _set(big, "weight", weight)
        if getattr(small, "bias", None) is not None:
            bias = self.zeros(big.bias.shape)
            if trained:
                bias[: small.bias.shape[0]] = small.bias.to(bias)
            _set(big, "bias", bias)

    def embedding(self, big: Module, small: Module) -> None:
        rows, channels = small.weight.shape
        weight = self.zeros(big.weight.shape)
        weight[rows:, :channels] = self.noise(weight[rows:, :channels].shape)
        weight[:rows, :channels] = small.weight.to(weight)
        _set(big, "weight", weight)

    def norm(self, big: Module, small: Module) -> None:
        channels, ratio = len(small.weight), len(small.weight) / len(big.weight)
        weight = torch.full(big.weight.shape, math.sqrt(ratio), device=self.device)
        weight[:channels] *= small.weight.to(weight)
        _set(big, "weight", weight.to(self.dtype))
        big.variance_epsilon = small.variance_epsilon * ratio

    def mlp(self, big: Module, small: Module, *, trained: bool) -> None:
        self.reader(big.gate_proj, small.gate_proj)
        self.reader(big.up_proj, small.up_proj)
        self.writer(big.down_proj, small.down_proj, trained=trained)

    def text(self, big: Module, small: Module) -> None:
        self.embedding(big.embed_tokens, small.embed_tokens)
        self.norm(big.norm, small.norm)
        ends = segment_ends(len(small.layers), len(big.layers))
        for index, layer in enumerate(big.layers):
            after = next(i for i, end in enumerate(ends) if index <= end)
            source, trained = small.layers[after], index == ends[after]
            self.norm(layer.input_layernorm, source.input_layernorm)
            self.norm(layer.post_attention_layernorm, source.post_attention_layernorm)
            self.text_attention(layer.self_attn, source.self_attn, trained=trained)
            self.mlp(layer.mlp, source.mlp, trained=trained)

    def text_attention(self, big: Module, small: Module, *, trained: bool) -> None:
        group, small_group = big.num_key_value_groups, small.num_key_value_groups
        head, kv_heads = self.arange(big.num_heads), small.num_key_value_heads
        source = head // group % kv_heads * small_group + head % group % small_group
        kv_source = self.arange(big.num_key_value_heads) % kv_heads
        small_head = self.arange(small.num_heads)
        placed = small_head // small_group * group + small_head % small_group
        for projection, heads in (("q_proj", source), ("k_proj", kv_source), ("v_proj", kv_source)):
            wide, narrow = getattr(big, projection), getattr(small, projection)
            self.reader(wide, narrow, self.arange(wide.out_features), source=self.channels(heads, big.head_dim))
        self.writer(big.o_proj, small.o_proj, self.channels(placed, big.head_dim), trained=trained)

    def channels(self, blocks: Tensor, size: int) -> Tensor:
        """The channels of the numbered blocks of `size` channels, (blocks * size,)."""
        return (blocks[:, None] * size + self.arange(size)).flatten()

    def vision(self, big: Module, small: Module, places: list[int]) -> None:
        self.writer(big.patch_embed.proj, small.patch_embed.proj)
        dim, small_dim = big.merger.ln_q.weight.shape[0], small.merger.ln_q.weight.shape[0]
        qkv_rows = (self.arange(3)[:, None] * dim + self.arange(small_dim)).flatten()  # (3, heads, head_dim)
        for index, block in enumerate(big.blocks):
            after = next((i for i, place in enumerate(places) if index <= place), len(places) - 1)
            source, trained = small.blocks[after], index == places[after]
            self.norm(block.norm1, source.norm1)
            self.norm(block.norm2, source.norm2)
            self.reader(block.attn.qkv, source.attn.qkv, qkv_rows)
            self.writer(block.attn.proj, source.attn.proj, trained=trained)
            self.mlp(block.mlp, source.mlp, trained=trained)
        self.norm(big.merger.ln_q, small.merger.ln_q)
        patches = self.arange(small.merger.hidden_size // small_dim)
        columns = (patches[:, None] * dim + self.arange(small_dim)).flatten()  # each patch padded on its own
        self.reader(big.merger.mlp[0], small.merger.mlp[0], columns=columns)
        self.writer(big.merger.mlp[2], small.merger.mlp[2])


def _set(module: Module, name: str, value: Tensor) -> None:
    module._parameters[name] = nn.Parameter(value, requires_grad=False)


def segment_ends(few: int, many: int) -> list[int]:
    """The last index of each of `few` equal segments of `many` layers: where the trained layers go."""
    return [(i + 1) * many // few - 1 for i in range(few)]
