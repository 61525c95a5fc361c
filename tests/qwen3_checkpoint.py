"""Checkpoint folders of tiny Qwen3-VL models, with all that a real one holds."""

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


def qwen3_checkpoint(folder: Path, seed: int = 0, **sizes: Any) -> Path:
    """Write a random checkpoint.

    Args:
        folder: to be made.
        seed, sizes: of the model, as in tiny_qwen3.py.
    """
    tokenizer = transformers.AutoTokenizer.from_pretrained(bundled.TARGET)
    size = {"shortest_edge": 4 * SIDE * SIDE, "longest_edge": 60 * SIDE * SIDE}
    patches = {"patch_size": PATCH, "temporal_patch_size": 2, "merge_size": 2, "size": size}
    processor = transformers.Qwen3VLProcessor(
        transformers.Qwen2VLImageProcessor(**patches),
        tokenizer,
        transformers.Qwen3VLVideoProcessor(**patches, fps=2, min_frames=4, max_frames=8),
        chat_template=(Path(bundled.TARGET) / "chat_template.jinja").read_text(),
    )
    model = tiny_qwen3_vl(seed, vocab=640, **sizes)
    for key, mark in MARKS.items():
        setattr(model.config, key, tokenizer.convert_tokens_to_ids(mark))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
