"""Random tiny Qwen3-VL models, dense and with experts; `tiny_video_inputs` makes inputs for them."""

from typing import Any

import torch
from transformers import (
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMoeConfig,
    Qwen3VLMoeForConditionalGeneration,
)

from tiny import BOS, EOS, MERGE, PAD, PATCH, SPECIAL, TEMPORAL_PATCH, _randomized


def tiny_qwen3_vl(
    seed: int = 0,
    hidden: int = 64,
    *,
    deep: tuple[int, ...] = (0, 2),
    tied: bool = False,
    dtype: torch.dtype = torch.float32,
    **text: Any,
) -> Qwen3VLForConditionalGeneration:
    """A random Qwen3-VL in eval mode whose greedy text varies, in a few milliseconds.

    Args:
        seed, hidden, tied, dtype: as in tiny.py.
        deep: indexes of the 3 vision blocks whose states are added behind the text's first layers.
        text: heads, kv_heads, intermediate, layers, vocab, as in tiny.py.
    """
    config = Qwen3VLConfig(
        text_config=_text_config(hidden, **text),
        vision_config=_vision_config(hidden, deep),
        **SPECIAL,
        tie_word_embeddings=tied,
    )
    return _randomized(Qwen3VLForConditionalGeneration, config, seed, dtype)


def tiny_qwen3_vl_moe(seed: int = 0, hidden: int = 64, **text: Any) -> Qwen3VLMoeForConditionalGeneration:
    """The same with 4 experts in each text layer, of which every token takes 2."""
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "decoder_sparse_step": 1}
    config = Qwen3VLMoeConfig(
        text_config={**_text_config(hidden, **text), **experts, "mlp_only_layers": []},
        vision_config=_vision_config(hidden, (0, 2)),
        **SPECIAL,
        tie_word_embeddings=False,
    )
    model = _randomized(Qwen3VLMoeForConditionalGeneration, config, seed, torch.float32)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "experts." in name:  # a stack of matrices: each scaled by its own width
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 1.5 / parameter.shape[-1] ** 0.5)
    return model


def _text_config(
    hidden: int, heads: int = 4, kv_heads: int = 2, intermediate: int = 128, layers: int = 3, vocab: int = 96
) -> dict[str, Any]:
    size = hidden // heads
    side = size // 6  # of the size / 2 frequencies, for height and for width
    return {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "head_dim": size,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": [size // 2 - 2 * side, side, side],
            "mrope_interleaved": True,
        },
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
    }


def _vision_config(hidden: int, deep: tuple[int, ...]) -> dict[str, Any]:
    return {
        "depth": 3,
        "hidden_size": 32,
        "num_heads": 2,
        "intermediate_size": 48,
        "out_hidden_size": hidden,
        "patch_size": PATCH,
        "temporal_patch_size": TEMPORAL_PATCH,
        "spatial_merge_size": MERGE,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": list(deep),
    }
