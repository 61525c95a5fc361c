"""Where the bundled pair lies, and the pair at the size of a real one."""

from pathlib import Path
from typing import Any

import torch

from rushes.bench.standin import DEMO_SHAPES, standin_config, widen
from rushes.checkpoints import load
from rushes.errors import RushesError
from rushes.loading import load_model, load_processor
from rushes.pair import Pair

_HERE = Path(__file__).parent / "pair"
TARGET = str(_HERE / "target")
DRAFT = str(_HERE / "draft")


def pair() -> Pair:
    """The bundled pair as it was trained, in fp32 on the CPU.

    Raises:
        RushesError: The bundled weights are missing.
    """
    refuse_without_weights()
    return load(TARGET, DRAFT, dtype="float32")


def standins(device: str = "cpu", dtype: torch.dtype = torch.bfloat16) -> Pair:
    """The bundled pair, widened to about 0.2B and 0.02B parameters without changing what it says.

    At its trained size a step of the target costs as much as one of the draft, namely Python's overhead, and no
    method could show anything.

    Raises:
        RushesError: The bundled weights are missing.
    """
    refuse_without_weights()
    processor = load_processor(TARGET)
    vocabulary = max(processor.tokenizer.get_vocab().values()) + 1

    def big(name: str, role: str) -> Any:
        small = load_model(name, "cpu", "float32")
        return widen(small, standin_config(small, DEMO_SHAPES[role]), dtype=dtype, device=device)

    return Pair(big(TARGET, "target"), big(DRAFT, "draft"), processor, vocabulary=vocabulary)


def refuse_without_weights() -> None:
    """Is the bundled pair there?

    Raises:
        RushesError: It is not.
    """
    if not (_HERE / "target" / "model.safetensors").is_file():
        raise RushesError("the bundled pair is missing from this installation; reinstall rushes, or train one")
