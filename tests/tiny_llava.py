"""Random tiny LLaVA-OneVision and LLaVA-NeXT-Video models and inputs for them, as in tiny.py."""

from typing import Any

import torch

from rushes._transformers import transformers
from tiny import BOS, EOS, FIRST_TEXT_TOKEN, IMAGE, PAD, PATCH, VIDEO, _randomized

# Patches along a side of a frame: 5 are pooled to 3 (the half, rounded up), 6 to 3 (the half).
ONEVISION_SIDE, NEXT_SIDE = 5, 6
BETWEEN = 2  # text tokens between two videos


def tiny_llava_onevision(seed: int = 0, hidden: int = 64, *, dtype: torch.dtype = torch.float32, **text: Any) -> Any:
    """A random LLaVA-OneVision in eval mode whose greedy text varies: SigLIP, Qwen2, 9 video tokens a frame.

    Args:
        seed, hidden, dtype: as in tiny.py.
        text: heads, kv_heads, intermediate, layers, vocab, as in tiny.py.
    """
    config = transformers.LlavaOnevisionConfig(
        text_config={"model_type": "qwen2", **_text_config(hidden, **text)},
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **_vision_config(ONEVISION_SIDE)},
        **_marks(ONEVISION_SIDE),
    )
    return _randomized(transformers.LlavaOnevisionForConditionalGeneration, config, seed, dtype)


def tiny_llava_next_video(
    seed: int = 0,
    hidden: int = 64,
    *,
    language: str = "llama",
    pool: str = "average",
    dtype: torch.dtype = torch.float32,
    **text: Any,
) -> Any:
    """The same for LLaVA-NeXT-Video: CLIP, and "llama" or "mistral"; pool is "average", "max" or "conv"."""
    more = {"sliding_window": None} if language == "mistral" else {}
    config = transformers.LlavaNextVideoConfig(
        text_config={"model_type": language, **_text_config(hidden, **text), **more},
        vision_config={"model_type": "clip_vision_model", "projection_dim": 32, **_vision_config(NEXT_SIDE)},
        spatial_pool_mode=pool,
        **_marks(NEXT_SIDE),
    )
    return _randomized(transformers.LlavaNextVideoForConditionalGeneration, config, seed, dtype)


def tiny_llava_inputs(
    model: Any,
    *,
    seed: int = 0,
    frames: int = 2,
    videos: int = 1,
    image: int = 0,
    text_before: int = 5,
    text_after: int = 7,
) -> dict[str, Any]:
    """One prompt with random videos and pictures behind them: `model(**inputs)`, `model.generate(**inputs)`.

    Args:
        model: a model of this module.
        seed: of the pixels and the text tokens.
        frames: of each video; 9 video tokens each, and one more at the end of each video for LLaVA-OneVision.
        videos: how many, with 2 text tokens between two of them; 0 for pictures alone.
        image: how many pictures, twice as wide as high.
        text_before, text_after: text tokens before and after everything.

    Returns:
        input_ids and attention_mask (1, S); pixel_values_videos (videos, frames, 3, side, side); with pictures
        pixel_values (image, patches, 3, side, side), image_sizes (image, 2), and batch_num_images for LLaVA-OneVision.
    """
    generator = torch.Generator().manual_seed(seed)
    config: Any = model.config
    image = int(image)  # True is one
    onevision = config.model_type == "llava_onevision"
    pixels = config.vision_config.image_size
    side = pixels // PATCH

    def text(n: int) -> torch.Tensor:
        return torch.randint(FIRST_TEXT_TOKEN, config.text_config.vocab_size, (n,), generator=generator)

    parts, inputs = [text(text_before)], {}
    for i in range(videos):
        parts += [text(BETWEEN)] if i else []
        parts += [torch.full((frames * 9 + onevision,), VIDEO)]
    after = text(text_after)
    if videos:
        inputs["pixel_values_videos"] = torch.randn(videos, frames, 3, pixels, pixels, generator=generator)
    if image:
        # One picture alone is cut in two beside its overview, each row ended by a newline; OneVision cuts no more.
        cut = not onevision or image == 1
        tokens = side**2 + 2 * side**2 + side if cut else side**2 + 1
        parts += [torch.full((tokens,), IMAGE) for _ in range(image)]
        inputs["pixel_values"] = torch.randn(image, 3, 3, pixels, pixels, generator=generator)
        inputs["image_sizes"] = torch.tensor([[pixels, 2 * pixels]] * image)
        if onevision:
            inputs["batch_num_images"] = torch.tensor([image])
    input_ids = torch.cat([*parts, after])[None]
    return {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids), **inputs}


def _text_config(
    hidden: int, heads: int = 4, kv_heads: int = 2, intermediate: int = 128, layers: int = 2, vocab: int = 96
) -> dict[str, Any]:
    return {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
    }


def _vision_config(side: int) -> dict[str, Any]:
    return {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": side * PATCH,
        "patch_size": PATCH,
    }


def _marks(side: int) -> dict[str, Any]:
    size = side * PATCH
    return {
        "image_token_index": IMAGE,
        "video_token_index": VIDEO,
        "image_grid_pinpoints": [[size, size], [size, 2 * size], [2 * size, size]],
    }
