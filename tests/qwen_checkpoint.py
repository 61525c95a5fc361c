"""Checkpoint folders of tiny Qwen models, with all that a real one holds."""

from pathlib import Path
from typing import Any

from rushes._transformers import transformers
from rushes.demo import bundled
from tiny import PATCH
from tiny_qwen3 import tiny_qwen3_vl

MARKS = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}
SIDE = 2 * PATCH  # of a cell, in pixels


def qwen_checkpoint(folder: Path, model: Any, family: str, **sampling: Any) -> Path:
    """Write a model with a processor of its own.

    Args:
        folder: to be made.
        model: with a vocabulary of 640.
        family: "Qwen2VL" or "Qwen3VL", as transformers' processors are called.
        sampling: which frames its video processor takes.
    """
    tokenizer = transformers.AutoTokenizer.from_pretrained(bundled.TARGET)
    size = {"shortest_edge": 4 * SIDE * SIDE, "longest_edge": 60 * SIDE * SIDE}
    patches = {"patch_size": PATCH, "temporal_patch_size": 2, "merge_size": 2, "size": size}
    processor = getattr(transformers, f"{family}Processor")(
        transformers.Qwen2VLImageProcessor(**patches),
        tokenizer,
        getattr(transformers, f"{family}VideoProcessor")(**patches, **sampling),
        chat_template=(Path(bundled.TARGET) / "chat_template.jinja").read_text(),
    )
    for key, mark in MARKS.items():
        setattr(model.config, key, tokenizer.convert_tokens_to_ids(mark))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def qwen3_checkpoint(folder: Path, seed: int = 0, **sizes: Any) -> Path:
    """Write a random Qwen3-VL.

    Args:
        folder: to be made.
        seed, sizes: of the model, as in tiny_qwen3.py.
    """
    model = tiny_qwen3_vl(seed, vocab=640, **sizes)
    return qwen_checkpoint(folder, model, "Qwen3VL", fps=2, min_frames=4, max_frames=8)
