"""Random tiny models and inputs for them, shared by the whole suite."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch

from rushes._torchvision import ensure_torchvision

ensure_torchvision()

from transformers import (  # noqa: E402
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)

PAD, BOS, EOS, VISION_START, VISION_END, IMAGE, VIDEO = range(7)
FIRST_TEXT_TOKEN = 7  # every id from here on is an ordinary token
PATCH, TEMPORAL_PATCH, MERGE = 4, 2, 2
SPECIAL = {
    "image_token_id": IMAGE,
    "video_token_id": VIDEO,
    "vision_start_token_id": VISION_START,
    "vision_end_token_id": VISION_END,
}


def tiny_qwen2_5_vl(
    seed: int = 0,
    hidden: int = 64,
    *,
    heads: int = 4,
    kv_heads: int = 2,
    intermediate: int = 128,
    layers: int = 2,
    vocab: int = 96,
    vision_hidden: int = 32,
    vision_heads: int = 2,
    vision_intermediate: int = 48,
    vision_layers: int = 2,
    fullatt: tuple[int, ...] = (1,),
    tied: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Qwen2_5_VLForConditionalGeneration:
    """A random Qwen2.5-VL in eval mode whose greedy text varies, in a few milliseconds.

    Args:
        seed: of the weights; the global random state is left as it was.
        hidden: text channels; the head size is hidden / heads (16 by default, 128 with hidden=256, heads=2).
        heads, kv_heads, intermediate, layers, vocab: the text model's other sizes.
        vision_hidden, vision_heads, vision_intermediate, vision_layers: the vision tower's (head size a multiple of 4).
        fullatt: indexes of the vision blocks with full attention.
        tied: share the embedding with the output projection.
        dtype: of the weights; the rotary buffers stay in fp32, as from_pretrained leaves them.

    Returns:
        The model. Ids 0 to 6 are PAD, BOS, EOS, VISION_START, VISION_END, IMAGE and VIDEO; the rest is text.
        Greedy text holds none of the seven; to see a stop, name a text token in generation_config.eos_token_id.
    """
    config = Qwen2_5_VLConfig(
        text_config=_text_config(vocab, hidden, heads, kv_heads, intermediate, layers),
        vision_config={
            "depth": vision_layers,
            "hidden_size": vision_hidden,
            "num_heads": vision_heads,
            "intermediate_size": vision_intermediate,
            "out_hidden_size": hidden,
            "patch_size": PATCH,
            "temporal_patch_size": TEMPORAL_PATCH,
            "spatial_merge_size": MERGE,
            "window_size": 2 * MERGE * PATCH,  # 2 x 2 merged tokens
            "fullatt_block_indexes": list(fullatt),
            "tokens_per_second": 2,
        },
        **SPECIAL,
        tie_word_embeddings=tied,
    )
    return _randomized(Qwen2_5_VLForConditionalGeneration, config, seed, dtype)


def tiny_qwen2_vl(
    seed: int = 0,
    hidden: int = 64,
    *,
    heads: int = 4,
    kv_heads: int = 2,
    intermediate: int = 128,
    layers: int = 2,
    vocab: int = 96,
) -> Qwen2VLForConditionalGeneration:
    """The same for Qwen2-VL, whose video positions know no seconds and whose vision blocks all attend fully."""
    config = Qwen2VLConfig(
        text_config=_text_config(vocab, hidden, heads, kv_heads, intermediate, layers),
        vision_config={
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": hidden,
            "mlp_ratio": 2,
            "num_heads": 2,
            "patch_size": PATCH,
            "temporal_patch_size": TEMPORAL_PATCH,
            "spatial_merge_size": MERGE,
        },
        **SPECIAL,
        tie_word_embeddings=False,
    )
    return _randomized(Qwen2VLForConditionalGeneration, config, seed, torch.float32)


def noisy(model: Any, scale: float, seed: int = 0) -> Any:
    """A copy of a model whose text layers are off by `scale` of each weight's own spread: it agrees now and then."""
    copy = deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    for parameter in copy.model.language_model.layers.parameters():
        if parameter.ndim > 1:
            parameter += scale * parameter.std() * torch.randn(parameter.shape, generator=generator)
    return copy


def contrary(model: Any) -> Any:
    """A copy of a model that likes best what the model likes least."""
    copy = deepcopy(model)
    copy.lm_head.weight.neg_()
    return copy


def _text_config(vocab: int, hidden: int, heads: int, kv_heads: int, intermediate: int, layers: int) -> dict[str, Any]:
    half = hidden // heads // 2
    temporal = half // 4
    height = (half - temporal) // 2
    return {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": [temporal, height, half - temporal - height],
        },
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
    }


def _randomized(family: Any, config: Any, seed: int, dtype: torch.dtype) -> Any:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = family._from_config(config, dtype=torch.float32)
        for name, parameter in model.named_parameters():
            if "norm" in name or "ln_q" in name:
                parameter.normal_(mean=1.0, std=0.2)  # not all ones: a forgotten norm weight must show
            elif "embed_tokens" in name:
                parameter.normal_(std=0.5)
            else:
                # Layers that outweigh the embedding they add to: greedy text depends on more than its last token.
                parameter.normal_(std=1.5 / parameter[0].numel() ** 0.5 if parameter.ndim > 1 else 0.2)
        # Their logits are near 0, so no special token wins: text neither stops early nor holds a stray VIDEO.
        model.lm_head.weight[:FIRST_TEXT_TOKEN] *= 0.01
        rotary = {name: buffer.clone() for name, buffer in model.named_buffers()}
        model.to(dtype)
    for name, buffer in rotary.items():
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, buffer)
    model.generation_config.pad_token_id = PAD
    return model.eval().requires_grad_(False)


def tiny_text_inputs(model: Any, length: int = 9, seed: int = 0) -> dict[str, Any]:
    """A prompt of random text without a video."""
    generator = torch.Generator().manual_seed(seed)
    input_ids = torch.randint(FIRST_TEXT_TOKEN, model.config.text_config.vocab_size, (1, length), generator=generator)
    return {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}


def tiny_video_inputs(
    model: Any,
    *,
    seed: int = 0,
    grid: tuple[int, int, int] = (3, 4, 6),
    videos: int = 1,
    image: tuple[int, int] | None = None,
    text_before: int = 5,
    text_after: int = 7,
    fps: float = 2.0,
) -> dict[str, Any]:
    """One prompt with random videos, as a processor would give it: `model(**inputs)`, `model.generate(**inputs)`.

    Args:
        model: a Qwen of this suite; gives the vocabulary and the token ids.
        seed: of the pixels and the text tokens.
        grid: each video in patches, (t, h, w); h and w must be even. It makes t * h * w / 4 video tokens.
        videos: how many, with 2 text tokens between.
        image: a picture behind the video in patches, (h, w), both even; h * w / 4 image tokens.
        text_before: text tokens before the video (without VISION_START).
        text_after: text tokens after it (without VISION_END).
        fps: sampled frames per second; one temporal patch holds 2 frames.

    Returns:
        As `tiny_mixed_inputs`.
    """
    seen: list[Any] = [grid, 2] * videos
    seen = seen[:-1] + ([] if image is None else [image])
    return tiny_mixed_inputs(model, [text_before, *seen, text_after], seed=seed, fps=(fps,) * videos)


def tiny_mixed_inputs(
    model: Any, parts: Sequence[int | tuple[int, ...]], *, seed: int = 0, fps: Sequence[float] = ()
) -> dict[str, Any]:
    """One prompt of random text, videos and pictures in any order.

    Args:
        model: a Qwen of this suite.
        parts: n for n text tokens, (t, h, w) for a video and (h, w) for a picture, in patches; h and w are even.
        seed: of the pixels and the text tokens.
        fps: of each video, in sampled frames per second; 2 for videos behind its end.

    Returns:
        input_ids, attention_mask and mm_token_type_ids (1, S); pixel_values_videos (patches of all videos, channels of
        a patch) and video_grid_thw (videos, 3); second_per_grid_ts (videos,) in seconds where the family reads it;
        pixel_values and image_grid_thw for pictures. Each video or picture lies between two tokens more; in Qwen3-VL
        each frame does, behind 3 tokens that stand for its timestamp.
    """
    generator = torch.Generator().manual_seed(seed)
    config: Any = model.config
    timestamps = config.model_type.startswith("qwen3")

    def text(n: int) -> torch.Tensor:
        return torch.randint(FIRST_TEXT_TOKEN, config.text_config.vocab_size, (n,), generator=generator)

    def seen(token: int, patches: int) -> list[torch.Tensor]:
        start, end = torch.tensor([config.vision_start_token_id]), torch.tensor([config.vision_end_token_id])
        return [start, torch.full((patches // MERGE**2,), token), end]

    def pixels(grids: list[tuple[int, ...]]) -> torch.Tensor:
        channels = 3 * TEMPORAL_PATCH * PATCH**2
        return torch.randn(sum(t * h * w for t, h, w in grids), channels, generator=generator)

    columns, videos, images = [], [], []
    for part in parts:
        if isinstance(part, int):
            columns.append(text(part))
        elif len(part) == 2:
            images.append((1, *part))
            columns += seen(config.image_token_id, part[0] * part[1])
        else:
            videos.append(part)
            t, h, w = part
            blocks = [(text(3), h * w) for _ in range(t)] if timestamps else [(text(0), t * h * w)]
            columns += [tokens for stamp, size in blocks for tokens in (stamp, *seen(config.video_token_id, size))]
    input_ids = torch.cat(columns)[None]
    kinds = (input_ids == config.image_token_id).int() + 2 * (input_ids == config.video_token_id).int()
    inputs = {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids), "mm_token_type_ids": kinds}
    if videos:
        inputs |= {"pixel_values_videos": pixels(videos), "video_grid_thw": torch.tensor(videos)}
        if config.model_type == "qwen2_5_vl":
            rates = [*fps, *[2.0] * len(videos)][: len(videos)]
            inputs["second_per_grid_ts"] = torch.tensor([TEMPORAL_PATCH / rate for rate in rates])
    if images:
        inputs |= {"pixel_values": pixels(images), "image_grid_thw": torch.tensor(images)}
    return inputs
