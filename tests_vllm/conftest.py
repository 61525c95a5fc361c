"""Set before vLLM is imported: one thread, no hub, the engine in this process."""

import os

os.environ.update(
    HF_HUB_OFFLINE="1",
    OMP_NUM_THREADS="1",
    TORCHDYNAMO_DISABLE="1",  # log probabilities would be compiled, for 20 s
    VLLM_CPU_CI_ENV="1",
    VLLM_CPU_KVCACHE_SPACE="1",
    VLLM_ENABLE_V1_MULTIPROCESSING="0",
    VLLM_LOGGING_LEVEL="ERROR",
    VLLM_NO_USAGE_STATS="1",
)

from collections.abc import Callable

import pytest
from scenarios import ASKED
from serving import answers, engine


@pytest.fixture(scope="session")
def plain() -> dict[str, list[int]]:
    """What vLLM answers without speculation, each scenario's request alone."""
    with engine(num_gpu_blocks_override=None) as llm:
        return {name: answers(llm, [request])[0] for name, request in ASKED.items()}


@pytest.fixture(scope="session")
def same(plain: dict[str, list[int]]) -> Callable[[str, list[int]], None]:
    """Holds an answer to the one without speculation."""

    def check(name: str, tokens: list[int]) -> None:
        assert tokens == plain[name], f"{name}: differs from vLLM without speculation"

    return check


def pytest_report_header() -> list[str]:
    import vllm

    return [f"vLLM {vllm.__version__}"]
