"""Qwen2-VL and Qwen3-VL, random and tiny: timestamps between frames, DeepStack, other positions; the same answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import IMAGE, answers, counted, engine

from qwen_checkpoint import SIDE, qwen_checkpoint
from rushes.bench.vllm_throughput import END, SYSTEM, VIDEO
from rushes.integrations.vllm import metrics
from tiny import noisy, tiny_qwen2_vl
from tiny_qwen3 import tiny_qwen3_vl

FAMILIES: dict[str, Any] = {"Qwen2VL": tiny_qwen2_vl, "Qwen3VL": tiny_qwen3_vl}


def folders(family: str, base: Path) -> tuple[str, str]:
    """A target and a draft that agrees with it now and then, as the hub would hold them."""
    target = FAMILIES[family](0, hidden=128, vocab=640)  # heads of 32, the least that vLLM's attention for CPUs takes
    models = {"target": target, "draft": noisy(target, 0.05)}
    return tuple(str(qwen_checkpoint(base / name, model, family)) for name, model in models.items())


def clip(seed: int, frames: int = 8) -> tuple[np.ndarray, dict[str, Any]]:
    pixels = np.random.default_rng(seed).integers(0, 255, (frames, 4 * SIDE, 3 * SIDE, 3), np.uint8)
    about = {"fps": 2.0, "duration": frames / 2, "total_num_frames": frames, "frames_indices": list(range(frames))}
    return pixels, {**about, "video_backend": "opencv", "do_sample_frames": False}


def asked() -> list[dict[str, Any]]:
    return [
        {"prompt": f"{SYSTEM}{VIDEO}Describe it.{END}", "multi_modal_data": {"video": [clip(0)]}},
        {
            "prompt": f"{SYSTEM}{IMAGE}and{VIDEO}and{VIDEO}Which?{END}",
            "multi_modal_data": {"video": [clip(1), clip(2, 4)], "image": [clip(3)[0][0]]},
        },
        {"prompt": f"{SYSTEM}What is a red circle?{END}"},
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_those_without_speculation(family, tmp_path):
    target, draft = folders(family, tmp_path)
    with engine(target, num_gpu_blocks_override=None) as llm:
        expected = [answers(llm, [request], 40)[0] for request in asked()]
    spec = {"method": "custom_class", "model": "rushes.integrations.vllm.VideoDrafter", "num_speculative_tokens": 4}
    settings = {"draft": draft, "keep": 0.5, "guidance": "draft"}
    given = {"speculative_config": spec, "additional_config": {"rushes": settings}, "num_gpu_blocks_override": None}
    with engine(target, **given) as llm:
        assert answers(llm, asked(), 40) == expected
        assert counted(llm, "spec_decode_num_accepted_tokens") > 0
        found = metrics.read()
        assert sum(found[f"skipped {reason}"] for reason in metrics.REASONS) == 0
        assert found["draft_prompts"] == 3
        assert 0 < found["kept_video_tokens"] < found["video_tokens"]
