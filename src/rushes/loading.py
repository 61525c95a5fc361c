"""Checkpoints: a folder or a hub id to configs, tokenizers and models, with errors that say what to do."""

from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from rushes._transformers import transformers
from rushes.errors import RushesError
from rushes.models.registry import adapter_for

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model", "*.tiktoken")


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
    except Exception as error:  # whatever a library raises about a user's file: OSError, ValueError, TypeError, ...
        raise _unusable(name, "config", error) from error
    adapter_for(config, name)
    return config


def load_tokenizer(name: str) -> Any:
    """The tokenizer of a checkpoint.

    Raises:
        RushesError: Not found or unreadable.
    """
    folder = Path(name)
    if folder.is_dir() and not any(any(folder.glob(file)) for file in TOKENIZER_FILES):
        # Left alone, transformers makes an empty one.
        raise RushesError(f"{name}: no tokenizer; the folder needs tokenizer.json")
    try:
        return transformers.AutoTokenizer.from_pretrained(name)
    except Exception as error:  # as in load_config
        raise _unusable(name, "tokenizer", error) from error


def load_processor(name: str) -> Any:
    """The processor of a checkpoint.

    Raises:
        RushesError: Not found or unreadable.
    """
    load_tokenizer(name)
    try:
        processor = transformers.AutoProcessor.from_pretrained(name)
    except Exception as error:  # as in load_config
        raise _unusable(name, "processor", error) from error
    # A folder without the processor's own files gives its tokenizer instead.
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "video_processor"):
        raise RushesError(f"{name}: no processor for videos; the folder needs preprocessor_config.json")
    for setting in ("num_image_tokens", "patch_size"):  # LLaVA's count their video tokens with these
        if getattr(processor, setting, "not a setting of this one") is None:
            raise RushesError(f"{name}: the processor does not know its {setting}; set it in processor_config.json")
    if not (getattr(processor, "chat_template", None) or getattr(processor.tokenizer, "chat_template", None)):
        raise RushesError(f"{name}: no chat template; the folder needs chat_template.jinja")
    return processor


def check_weights(name: str) -> None:
    """Look at a folder's weights without reading them: they are there, and no file is cut short.

    A hub id is left to `load_model`, which fetches it.

    Raises:
        RushesError: No weights, or a damaged file.
    """
    folder = Path(name)
    if not folder.is_dir():
        return
    if not any(any(folder.glob(f"*{kind}")) for kind in (".safetensors", ".bin")):
        raise RushesError(f"{name}: the checkpoint folder has no weights (*.safetensors)")
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt"):
                pass
        except Exception as error:  # a class of its own, or OSError
            raise RushesError(f"{file}: the weights cannot be read: {_reason(error)}; fetch the file again") from error


def load_model(name: str, device: str, dtype: str) -> Any:
    """The model of a checkpoint, on its device.

    Args:
        dtype: A key of `DTYPES`, or "auto": what the checkpoint says.

    Raises:
        RushesError: No weights, incomplete ones, no such device, unknown dtype, not enough memory.
    """
    check_dtype(dtype)
    check_device(device)
    check_weights(name)
    try:
        loaded: Any = transformers.AutoModelForImageTextToText.from_pretrained(
            name,
            dtype=DTYPES.get(dtype, "auto"),
            device_map={"": device},
            ignore_mismatched_sizes=True,  # they are refused below, with a message of our own
            output_loading_info=True,
        )
    except torch.OutOfMemoryError as error:
        raise RushesError(f"{name}: does not fit into the memory of {device}; choose another --device") from error
    except Exception as error:
        raise RushesError(f"{name}: the weights cannot be loaded: {_reason(error)}") from error
    model, found = loaded
    # transformers fills what is missing with random numbers and goes on.
    lost = sorted(found["missing_keys"]) + sorted(key for key, *_ in found["mismatched_keys"])
    if lost:
        raise RushesError(
            f"{name}: the weights do not fill the config: {len(lost)} tensors are missing or of another shape, "
            f"such as {lost[0]}; fetch the checkpoint again"
        )
    return model.requires_grad_(False).eval()


def check_dtype(name: str) -> None:
    """Refuse a dtype that is neither "auto" nor a key of `DTYPES`.

    Raises:
        RushesError: Unknown.
    """
    if name != "auto" and name not in DTYPES:
        raise RushesError(f"unknown dtype {name!r}; known: auto, {', '.join(DTYPES)}")


def check_device(name: str) -> torch.device:
    """The device of this name.

    Raises:
        RushesError: Unknown, or not there.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise RushesError(f"unknown device {name!r}; use cpu, cuda or cuda:0") from error
    if device.type == "cpu":
        return device
    backend: Any = getattr(torch, device.type, None)
    if not hasattr(backend, "is_available"):  # such as "meta": a name that torch knows, and no place to compute
        raise RushesError(f"unknown device {name!r}; use cpu, cuda or cuda:0")
    have = backend.device_count() if backend.is_available() else 0
    if (device.index or 0) >= have:
        raise RushesError(f"device {name!r} is not there: {have} {device.type} devices found; use cpu")
    return device


def _unusable(name: str, what: str, error: Exception) -> RushesError:
    hint = "" if Path(name).is_dir() else "; or give the path of a checkpoint folder"
    return RushesError(f"{name}: no usable {what}: {_reason(error)}{hint}")


def _reason(error: Exception) -> str:
    """A library's message in one line that is not endless."""
    line = " ".join(str(error).split())
    if not line or not isinstance(error, OSError | ValueError):  # a bare KeyError says no more than the key
        line = f"{type(error).__name__} {line}".strip()
    return line if len(line) <= 300 else line[:300] + "..."
