"""Speculative decoding for video LLMs: the same answer, sooner.

pair = rushes.load("Qwen/Qwen2.5-VL-32B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct", device="cuda")
result = pair.generate("match.mp4", "What happens after the second goal?", method="specvlm")
"""

from typing import TYPE_CHECKING, Any

from rushes.errors import RushesError

if TYPE_CHECKING:
    from rushes.checkpoints import load
    from rushes.drop_in import custom_generate
    from rushes.pair import Pair
    from rushes.result import Check, Event, Result

__version__ = "0.1.0"
__all__ = ["Check", "Event", "Pair", "Result", "RushesError", "custom_generate", "load"]

_HOMES = {
    "Check": "result",
    "Event": "result",
    "Pair": "pair",
    "Result": "result",
    "custom_generate": "drop_in",
    "load": "checkpoints",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used: torch and transformers take seconds to import."""
    if name not in _HOMES:
        raise AttributeError(f"module 'rushes' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"rushes.{_HOMES[name]}"), name)
