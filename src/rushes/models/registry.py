"""Which adapter speaks for which family."""

from typing import Any

from rushes.errors import RushesError
from rushes.models.base import VideoLM
from rushes.models.llava_next_video import LlavaNextVideo
from rushes.models.llava_onevision import LlavaOnevision
from rushes.models.qwen2_5_vl import Qwen2_5_VL
from rushes.models.qwen2_vl import Qwen2_VL
from rushes.models.qwen3_vl import Qwen3_VL

ADAPTERS: tuple[type[VideoLM], ...] = (
    Qwen2_VL,
    Qwen2_5_VL,
    Qwen3_VL,
    LlavaOnevision,
    LlavaNextVideo,
)

# Their linear-attention or state-space layers keep a running state: `crop` leaves it wrong without an error.
CANNOT_ROLL_BACK = ("qwen3_5", "qwen3_next", "jamba", "bamba", "falcon_h1", "granitemoehybrid", "nemotron_h", "zamba2")


def families() -> list[str]:
    """The `model_type`s that an adapter exists for."""
    return [family for adapter in ADAPTERS for family in adapter.families]


def adapter_for(config: Any, name: str) -> type[VideoLM]:
    """The adapter class for a config.

    Raises:
        RushesError: The family is not supported, or its state cannot be rolled back.
    """
    kind = str(getattr(config, "model_type", "unknown"))
    text = config.get_text_config()
    layers = set(getattr(text, "layer_types", None) or ())
    stateful = layers - {"full_attention", "sliding_attention"}
    if kind.startswith(CANNOT_ROLL_BACK) or stateful:
        what = f" ({', '.join(sorted(stateful))} layers)" if stateful else ""
        raise RushesError(
            f"{name}: {kind}{what} keeps a running state that cannot be rolled back after a rejected draft token"
        )
    if "sliding_attention" in layers:
        raise RushesError(f"{name}: sliding-window attention is not supported; disable use_sliding_window")
    if not layers and slides(text):
        raise RushesError(
            f"{name}: sliding-window attention is not supported; a sliding_window of {text.sliding_window} is less "
            f"than the {text.max_position_embeddings} tokens that the model holds: set it to null in config.json"
        )
    for adapter in ADAPTERS:
        if kind in adapter.families:
            return adapter
    raise RushesError(f"{name}: the family {kind!r} is not supported; supported: {', '.join(families())}")


def slides(text: Any) -> bool:
    """Does a model without a list of layer types, such as a Mistral, look back over fewer tokens than it holds?"""
    window = getattr(text, "sliding_window", None)
    return window is not None and window < getattr(text, "max_position_embeddings", window)


def adapt(model: Any, name: str, vocabulary: int | None = None) -> VideoLM:
    """Wrap a loaded model.

    Raises:
        RushesError: As `adapter_for`, or the model says that it is stateful.
    """
    adapter = adapter_for(model.config, name)
    if getattr(model, "_is_stateful", False):
        raise RushesError(f"{name}: {model.config.model_type} is stateful and cannot be rolled back")
    return adapter(model, vocabulary)
