"""Engines of vLLM on the bundled pair, and what is asked of them."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from vllm import LLM, SamplingParams

from rushes.bench.vllm_throughput import END, SYSTEM, VIDEO, clip
from rushes.demo.bundled import DRAFT, TARGET

IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
ASK = "Describe the video in detail."
COMMON = {
    "enforce_eager": True,
    "dtype": "float32",
    "max_model_len": 768,
    "max_num_seqs": 4,
    "limit_mm_per_prompt": {"video": 2, "image": 1},
    "disable_log_stats": False,
    "max_num_batched_tokens": 300,  # less than a prompt: prefills come in chunks
    "num_gpu_blocks_override": 40,  # of 32 tokens: less than four answers take, so that some are preempted
    "block_size": 32,
}


def drafting(tokens: int = 5, **settings: Any) -> dict[str, Any]:
    """What switches the plug-in on."""
    return {
        "speculative_config": {
            "method": "custom_class",
            "model": "rushes.integrations.vllm.VideoDrafter",
            "num_speculative_tokens": tokens,
        },
        "additional_config": {"rushes": {"draft": DRAFT, **settings}},
    }


@contextmanager
def engine(model: str = TARGET, **options: Any) -> Iterator[LLM]:
    """An engine in this process, gone behind the block."""
    llm = LLM(model, **{**COMMON, **options})
    try:
        yield llm
    finally:
        llm.llm_engine.engine_core.shutdown()
        del llm
        gc.collect()


def picture() -> np.ndarray:
    return clip(9, 1)[0][0]


def prompt(text: str = ASK, videos: Sequence[int] = (), images: int = 0, scenes: int = 6) -> dict[str, Any]:
    """A request about held-out videos and pictures."""
    marks = IMAGE * images + VIDEO * len(videos)
    made: dict[str, Any] = {"prompt": f"{SYSTEM}{marks}{text}{END}"}
    data: dict[str, Any] = {}
    if videos:
        data["video"] = [clip(number, scenes) for number in videos]
    if images:
        data["image"] = [picture()] * images
    return {**made, "multi_modal_data": data} if data else made


def greedy(tokens: int = 100) -> SamplingParams:
    return SamplingParams(temperature=0, max_tokens=tokens)


def answers(llm: LLM, requests: Sequence[dict[str, Any]], tokens: int = 100) -> list[list[int]]:
    """Greedy answers to requests that run together."""
    found = llm.generate(list(requests), greedy(tokens), use_tqdm=False)
    return [list(one.outputs[0].token_ids) for one in found]


def runner(llm: LLM) -> Any:
    return llm.llm_engine.engine_core.engine_core.model_executor.driver_worker.worker.model_runner


def counted(llm: LLM, name: str) -> float:
    """One of vLLM's own counters."""
    return sum(metric.value for metric in llm.get_metrics() if metric.name == f"vllm:{name}")
