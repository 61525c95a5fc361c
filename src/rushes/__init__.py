"""Speculative decoding for video LLMs: the same answer, sooner."""

from rushes.errors import RushesError

__all__ = ["RushesError"]
