"""Checkpoints: a folder or a hub id to configs, tokenizers and models, with errors that say what to do."""

from pathlib import Path
from typing import Any

import torch

from rushes._transformers import transformers
from rushes.errors import RushesError
from rushes.models.registry import adapter_for

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_config(name: str) -> Any:
    """The config of a checkpoint whose family is supported.

    Raises:
        RushesError: Not found, unreadable, unsupported, or cannot roll back.
    """
    folder = Path(name)
    looks_local = folder.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1
    if looks_local and not folder.is_dir():
        what = "is a file, not a checkpoint folder" if folder.exists() else "does not exist"
        raise RushesError(f"{name}: {what}; give a checkpoint folder or a hub id such as Qwen/Qwen2.5-VL-7B-Instruct")
    if looks_local and not (folder / "config.json").is_file():
        raise RushesError(f"{name}: not a checkpoint folder, it has no config.json")
    try:
        config = transformers.AutoConfig.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise RushesError(f"{name}: {_reason(error)}") from error
    adapter_for(config, name)
    return config


def load_tokenizer(name: str) -> Any:
    """The tokenizer of a checkpoint.

    Raises:
        RushesError: Not found or unreadable.
    """
    try:
        return transformers.AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise RushesError(f"{name}: no tokenizer: {_reason(error)}") from error


def load_processor(name: str) -> Any:
    """The processor of a checkpoint.

    Raises:
        RushesError: Not found or unreadable.
    """
    try:
        return transformers.AutoProcessor.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise RushesError(f"{name}: no processor: {_reason(error)}") from error


def load_model(name: str, device: str, dtype: str) -> Any:
    """The model of a checkpoint, on its device.

    Args:
        dtype: A key of `DTYPES`, or "auto": what the checkpoint says, on a CPU float32 unless it is bfloat16.

    Raises:
        RushesError: No weights, no such device, unknown dtype, not enough memory.
    """
    if dtype != "auto" and dtype not in DTYPES:
        raise RushesError(f"unknown dtype {dtype!r}; known: auto, {', '.join(DTYPES)}")
    check_device(device)
    folder = Path(name)
    if folder.is_dir() and not any(folder.glob(f"*{kind}") for kind in (".safetensors", ".bin")):
        raise RushesError(f"{name}: the checkpoint folder has no weights (*.safetensors)")
    try:
        model = transformers.AutoModelForImageTextToText.from_pretrained(
            name, dtype=DTYPES.get(dtype, "auto"), device_map={"": device}
        )
    except (OSError, ValueError, KeyError) as error:
        raise RushesError(f"{name}: {_reason(error)}") from error
    except torch.OutOfMemoryError as error:
        raise RushesError(f"{name}: does not fit into the memory of {device}; choose another --device") from error
    except Exception as error:  # safetensors raises its own class for a truncated file
        if type(error).__module__.startswith("safetensors"):
            raise RushesError(f"{name}: the weights cannot be read: {_reason(error)}") from error
        raise
    return model.requires_grad_(False).eval()


def check_device(name: str) -> torch.device:
    """The device of this name.

    Raises:
        RushesError: Unknown, or not there.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise RushesError(f"unknown device {name!r}; use cpu, cuda or cuda:0") from error
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        have = torch.cuda.device_count() if torch.cuda.is_available() else 0
        raise RushesError(f"device {name!r} is not there: {have} CUDA devices found; use cpu")
    return device


def _reason(error: Exception) -> str:
    """The first line of a library's message, which may run over a screen."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
