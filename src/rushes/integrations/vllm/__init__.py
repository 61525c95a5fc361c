"""A drafter for videos inside vLLM, which has seen a part of each: `rushes.integrations.vllm.VideoDrafter`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rushes.integrations.vllm.drafter import VideoDrafter

__all__ = ["VideoDrafter"]


def __getattr__(name: str) -> Any:
    """The drafter is imported when vLLM asks for it: the plug-in itself is loaded in processes that never draft."""
    if name != "VideoDrafter":
        raise AttributeError(f"module 'rushes.integrations.vllm' has no attribute {name!r}")
    from rushes.integrations.vllm.drafter import VideoDrafter

    return VideoDrafter
