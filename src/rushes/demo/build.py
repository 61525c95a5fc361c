"""The demo pair before training: tokenizer, processor, configs, fresh models. All in genuine Hugging Face format."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from rushes._transformers import transformers
from rushes.demo.scenes import sample_clip
from rushes.demo.wording import DESCRIBE_PROMPTS, ask, describe

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# How Qwen's tokenizers cut text before merging bytes.
_QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MIN_PIXELS, MAX_PIXELS = 84 * 84, 112 * 112
FPS = 4.0


@dataclass(frozen=True, slots=True)
class Size:
    """The shape of one model of the pair. Head sizes are the real models': 128 for text, 80 for vision."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vision_hidden: int
    vision_depth: int
    vision_intermediate: int
    full_attention: tuple[int, ...]


TARGET = Size(256, 6, 2, 768, 160, 4, 384, (1, 3))
DRAFT = Size(128, 2, 1, 256, 80, 2, 160, (1,))


def make_tokenizer(samples: int = 3000, vocabulary: int = 640) -> Any:
    """A byte-level BPE tokenizer in Qwen's format, its merges learnt from `samples` drawn texts."""
    rng = np.random.default_rng(0)
    texts: list[str] = [*DESCRIBE_PROMPTS, "system\nYou are a helpful assistant.\nuser\nassistant\n"] * 50
    for _ in range(samples):
        clip = sample_clip(rng)
        for sample in (describe(clip, rng), ask(clip, rng)):
            texts += [sample.prompt, sample.answer]
    raw = Tokenizer(models.BPE())
    raw.normalizer = normalizers.NFC()
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    return transformers.Qwen2Tokenizer(
        tokenizer_object=raw,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=list(SPECIAL_TOKENS),
        model_max_length=4096,
    )


def make_processor(tokenizer: Any) -> Any:
    """The processor: every pixel and frame limit is written out, so that nothing depends on a library's default."""
    size = {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS}
    video = transformers.Qwen2VLVideoProcessor(
        size=size, fps=FPS, min_frames=4, max_frames=128, cap_pixels_per_frame=False
    )
    image = transformers.Qwen2VLImageProcessor(size=size)
    return transformers.Qwen2_5_VLProcessor(image, tokenizer, video, chat_template=CHAT_TEMPLATE)


def make_config(size: Size, tokenizer: Any) -> transformers.Qwen2_5_VLConfig:
    """A Qwen2.5-VL config of this size with the real models' rope parameters."""
    token = tokenizer.convert_tokens_to_ids
    rows = -(-len(tokenizer) // 64) * 64  # padded, as the real checkpoints' vocabularies are
    return transformers.Qwen2_5_VLConfig(
        text_config={
            "vocab_size": rows,
            "hidden_size": size.hidden,
            "intermediate_size": size.intermediate,
            "num_hidden_layers": size.layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": 1,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
            "bos_token_id": token("<|endoftext|>"),
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": size.vision_depth,
            "hidden_size": size.vision_hidden,
            "intermediate_size": size.vision_intermediate,
            "num_heads": size.vision_hidden // 80,
            "out_hidden_size": size.hidden,
            "window_size": 112,
            "fullatt_block_indexes": list(size.full_attention),
            "tokens_per_second": 2,
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )


def make_model(config: transformers.Qwen2_5_VLConfig, tokenizer: Any, seed: int) -> Any:
    """A freshly initialised model that stops at the tokenizer's end-of-turn token."""
    torch.manual_seed(seed)
    model = transformers.Qwen2_5_VLForConditionalGeneration(config)
    token = tokenizer.convert_tokens_to_ids
    model.generation_config = transformers.GenerationConfig(
        eos_token_id=[token("<|im_end|>"), token("<|endoftext|>")],
        pad_token_id=token("<|endoftext|>"),
        do_sample=False,
    )
    return model
