"""Stand-ins: a tiny trained Qwen2.5-VL that computes as much as a real one and still says the same.

A trained model is widened and deepened without changing its function. Every matrix has its full size, so a forward
pass costs what the big shape costs, while the logits stay those of the small model. What keeps the function:

* extra residual channels stay exactly zero, because nothing writes to them: embeddings and output projections have
  zeros there. Columns that read those channels are noise; they multiply zeros.
* extra heads and MLP units compute on real inputs, but their outgoing weights are zero.
* an extra layer is a copy of the trained layer next to it, with both output projections zero.
* attention heads may together be wider or narrower than the residual, as in Qwen3: each keeps the trained head size.
* RMSNorm over D instead of d channels: its weight is scaled by sqrt(d / D), its epsilon by d / D. When D / d is a
  power of 4 both factors are powers of 2, so no weight is rounded, in bf16 either.

What is left is the order of sums inside longer matrix products: about 1e-5 of a logit in fp32. In bf16 it now and
then flips the rounding of an activation, as any change of kernel does, and near ties may then fall the other way.

Attention reads the same as in the small model as well: an extra text layer sees the residual of the trained layer
that follows it, and extra text heads repeat the trained ones of their group. So the mean attention over heads (over
the whole model, when all counts grow by whole factors) is the small model's, and scorers that read it rank alike.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rushes.bench.widening import Filler, segment_ends
from rushes.errors import RushesError

if TYPE_CHECKING:  # transformers loads torchvision; importing this module must not
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

_TEXT_SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "num_hidden_layers",
    "vocab_size",
)
_VISION_SIZES = ("hidden_size", "intermediate_size", "num_heads", "depth", "out_hidden_size")
_TEXT_KEPT = (
    "rope_parameters",
    "hidden_act",
    "max_position_embeddings",
    "attention_dropout",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "use_sliding_window",
    "sliding_window",
)
_VISION_KEPT = (
    "rope_parameters",
    "hidden_act",
    "in_channels",
    "patch_size",
    "temporal_patch_size",
    "spatial_merge_size",
    "window_size",
    "tokens_per_second",
)
_TOP_KEPT = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")


@dataclass(frozen=True)
class Shape:
    """The sizes of a Qwen2.5-VL that decide its cost."""

    hidden_size: int
    num_attention_heads: int
    num_key_value_heads: int
    intermediate_size: int
    num_hidden_layers: int
    vocab_size: int
    vision_hidden_size: int
    vision_num_heads: int
    vision_intermediate_size: int
    vision_depth: int


# About 0.2B and a tenth of that, with text heads of 128 and vision heads of 80 channels as in every released size.
# Hidden sizes are 4 times those of the bundled pair, for exact rounding; layers and heads are whole multiples of its
# own, for the same mean attention. The vocabularies are padded to different row counts, as in released pairs.
DEMO_SHAPES = {
    "target": Shape(1024, 8, 2, 4096, 12, 16384, 640, 8, 512, 4),
    "draft": Shape(512, 4, 2, 3072, 2, 8192, 320, 4, 640, 2),
}


def parameters(model: nn.Module) -> int:
    """The number of weights of a model, tied ones counted once."""
    return sum(parameter.numel() for parameter in model.parameters())


def standin_config(model: Qwen2_5_VLForConditionalGeneration, shape: Shape) -> Qwen2_5_VLConfig:
    """The model's own config with the sizes of `shape`, ready for `widen`.

    Full-attention blocks of the vision tower are spread over the new depth as they are over the model's.
    """
    config = copy.deepcopy(model.config)
    text: Any = config.text_config
    vision: Any = config.vision_config
    for name in _TEXT_SIZES:
        setattr(text, name, getattr(shape, name))
    text.layer_types = ["full_attention"] * shape.num_hidden_layers
    ends = segment_ends(vision.depth, shape.vision_depth)
    vision.fullatt_block_indexes = [ends[i] for i in vision.fullatt_block_indexes if i < len(ends)]
    vision.hidden_size, vision.num_heads = shape.vision_hidden_size, shape.vision_num_heads
    vision.intermediate_size, vision.depth = shape.vision_intermediate_size, shape.vision_depth
    vision.out_hidden_size = shape.hidden_size
    return config


@torch.no_grad()
def widen(
    model: Qwen2_5_VLForConditionalGeneration,
    config: Qwen2_5_VLConfig,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    seed: int = 0,
) -> Qwen2_5_VLForConditionalGeneration:
    """Build a model of the config's size that computes what the small trained model computes.

    Callers must trim the logits to the small model's vocabulary: the rows past it are noise and can win an argmax.
    The result is made to be run, not saved: transformers hard-codes the epsilon of the vision norms, so a reloaded
    copy would differ from it slightly.

    Args:
        model: the small trained model, on any device.
        config: the big shape; not changed. Sizes and the places of full-attention vision blocks are read from it.
            With a text_config.head_dim, the trained one, the heads need not add up to the channels.
            RoPE parameters, norm epsilons, activations, special token ids, patch, merge and window sizes and
            tokens_per_second are the SMALL model's, whatever the config says.
        dtype: of the big weights; the small model's by default.
        device: of the big weights, which are filled in place there, one copy; the small model's by default.
        seed: of the noise.

    Returns:
        The big model in eval mode, without gradients, with the small model's generation config.

    Raises:
        RushesError: the small model does not fit into the config, with the field and what it may be.
    """
    big = outline(model, config, dtype=dtype)
    merged = big.config
    places = _vision_places(model.config.vision_config, merged.vision_config)
    fill = Filler(torch.device(device) if device is not None else model.device, dtype or model.dtype, seed)
    fill.vision(big.model.visual, model.model.visual, places)
    fill.text(big.model.language_model, model.model.language_model)
    if merged.tie_word_embeddings:
        big.lm_head.weight = big.model.language_model.embed_tokens.weight
    else:
        fill.reader(big.lm_head, model.lm_head)
    # Inverse frequencies: head size and RoPE parameters are the small model's, so its own tensors are the right ones.
    for name, buffer in model.named_buffers():
        owner, _, leaf = name.rpartition(".")
        big.get_submodule(owner)._buffers[leaf] = buffer.to(fill.device, copy=True)
    big.generation_config = copy.deepcopy(model.generation_config)
    return big.eval()


def outline(
    model: Qwen2_5_VLForConditionalGeneration, config: Qwen2_5_VLConfig, *, dtype: torch.dtype | None = None
) -> Qwen2_5_VLForConditionalGeneration:
    """What `widen` would build, without its weights: every tensor is on the meta device and takes no memory.

    Raises:
        RushesError: As `widen`.
    """
    merged = _merge(model, config)
    _vision_places(model.config.vision_config, merged.vision_config)
    text = merged.text_config
    heads, kv_heads = text.num_attention_heads, text.num_key_value_heads
    if getattr(text, "head_dim", None):  # transformers would derive it, and refuse where heads do not divide channels
        text.num_attention_heads = text.num_key_value_heads = 1
    with torch.device("meta"):
        big = type(model)._from_config(
            merged, dtype=dtype or model.dtype, attn_implementation=model.config._attn_implementation
        )
    if getattr(text, "head_dim", None):
        made: Any = big.config.text_config
        made.num_attention_heads, made.num_key_value_heads = heads, kv_heads
        for layer in big.model.language_model.layers:
            _set_heads(layer.self_attn, heads, kv_heads, made.head_dim)
    return big


def _set_heads(attention: Any, heads: int, kv_heads: int, head_dim: int) -> None:
    """Give an attention module on the meta device other heads, whatever its channels."""
    attention.num_heads, attention.num_key_value_heads = heads, kv_heads
    attention.num_key_value_groups, attention.head_dim = heads // kv_heads, head_dim
    attention.scaling = head_dim**-0.5
    like, hidden = attention.q_proj.weight, attention.hidden_size
    for name, count in (("q_proj", heads), ("k_proj", kv_heads), ("v_proj", kv_heads)):
        setattr(attention, name, nn.Linear(hidden, count * head_dim, device=like.device, dtype=like.dtype))
    attention.o_proj = nn.Linear(heads * head_dim, hidden, bias=False, device=like.device, dtype=like.dtype)


def _vision_places(small: Any, big: Any) -> list[int]:
    """For each trained block the next free one of the same kind, window or full attention."""
    places: list[int] = []
    for index in range(small.depth):
        full = index in small.fullatt_block_indexes
        free = range(places[-1] + 1 if places else 0, big.depth)
        place = next((i for i in free if (i in big.fullatt_block_indexes) == full), None)
        if place is None:
            raise RushesError(
                f"vision_config.fullatt_block_indexes is {list(big.fullatt_block_indexes)} with depth {big.depth}: "
                f"no free block for the trained {'full' if full else 'window'}-attention block {index}; "
                f"the trained tower has {list(small.fullatt_block_indexes)} with depth {small.depth}"
            )
        places.append(place)
    return places


def _merge(model: Any, config: Any) -> Any:
    """A copy of the config with what must be the small model's own, after all checks."""
    for name, kind in (("model", model.config.model_type), ("config", config.model_type)):
        if kind != "qwen2_5_vl":
            raise RushesError(f"the {name} is of type {kind!r}; only 'qwen2_5_vl' has a stand-in")
    small, merged = model.config, copy.deepcopy(config)
    for part, sizes in (("text_config", _TEXT_SIZES), ("vision_config", _VISION_SIZES)):
        for name in sizes:
            given, least = getattr(getattr(merged, part), name), getattr(getattr(small, part), name)
            _require(given >= least, f"{part}.{name}", given, f"at least {least}")
    text, vision, trained = merged.text_config, merged.vision_config, small.text_config
    heads, kv_heads = text.num_attention_heads, text.num_key_value_heads
    _require(heads % kv_heads == 0, "text_config.num_key_value_heads", kv_heads, f"a divisor of {heads}")
    group, least = heads // kv_heads, trained.num_attention_heads // trained.num_key_value_heads
    _require(group >= least, "text_config.num_key_value_heads", kv_heads, f"at most {heads // least}")
    for part, count in (("text_config", "num_attention_heads"), ("vision_config", "num_heads")):
        wide, narrow = getattr(merged, part), getattr(small, part)
        head_dim, heads = narrow.hidden_size // getattr(narrow, count), getattr(wide, count)
        if part == "text_config" and getattr(wide, "head_dim", None):
            _require(wide.head_dim == head_dim, "text_config.head_dim", wide.head_dim, f"{head_dim}, as trained")
            continue
        allowed = f"{heads * head_dim} ({heads} heads of {head_dim})"
        _require(wide.hidden_size == heads * head_dim, f"{part}.hidden_size", wide.hidden_size, allowed)
    given = vision.out_hidden_size
    _require(given == text.hidden_size, "vision_config.out_hidden_size", given, f"{text.hidden_size}")
    tied = merged.tie_word_embeddings
    _require(small.tie_word_embeddings or not tied, "tie_word_embeddings", tied, "False, as in the trained model")
    sliding = "sliding_attention" in trained.layer_types
    _require(not sliding, "the trained model's text_config.use_sliding_window", sliding, "False")
    for own, theirs, names in (
        (text, trained, _TEXT_KEPT),
        (vision, small.vision_config, _VISION_KEPT),
        (merged, small, _TOP_KEPT),
    ):
        for name in names:
            setattr(own, name, copy.deepcopy(getattr(theirs, name)))
    text.layer_types = ["full_attention"] * text.num_hidden_layers
    text.rms_norm_eps = trained.rms_norm_eps * trained.hidden_size / text.hidden_size
    return merged


def _require(condition: bool, field: str, given: object, allowed: str) -> None:
    if not condition:
        raise RushesError(f"{field} is {given}; it must be {allowed}")
