"""Answers in OpenAI's shapes, whole or in chunks."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

from rushes.serve.job import Done, Piece


@dataclass(slots=True)
class Reply:
    """One answer in the making.

    Args:
        id: Of the completion.
        model: Its name.
        include_usage: As in `stream_options`: usage in a chunk of its own.
    """

    id: str
    model: str
    include_usage: bool = False
    created: int = field(default_factory=lambda: int(time.time()))
    _texts: list[str] = field(default_factory=list)
    _details: dict[str, Any] = field(default_factory=dict)

    def add(self, piece: Piece) -> None:
        """Collect a piece of an answer that is sent whole."""
        self._texts.append(piece.text)
        for name, value in (piece.details or {}).items():
            if name == "words":
                self._details.setdefault("words", []).extend(value)
            else:
                self._details[name] = value

    def whole(self, done: Done) -> dict[str, Any]:
        """The chat.completion object."""
        message = {"role": "assistant", "content": "".join(self._texts), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": done.finish_reason}
        made = self._object("chat.completion", [choice]) | _end(done)
        if self._details:
            made["rushes"] |= self._details
        return made

    def opening(self) -> bytes:
        """The first chunk."""
        return self._chunk({"role": "assistant", "content": ""})

    def chunk(self, piece: Piece) -> bytes:
        """A chunk of text."""
        return self._chunk({"content": piece.text}, more={} if piece.details is None else {"rushes": piece.details})

    def closing(self, done: Done) -> bytes:
        """The last chunks: the reason, usage and metrics, and the mark of the end."""
        end = _end(done)
        if not self.include_usage:
            return self._chunk({}, done.finish_reason, end) + b"data: [DONE]\n\n"
        first = self._chunk({}, done.finish_reason)
        return first + _event(self._object("chat.completion.chunk", []) | end) + b"data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, Any], reason: str | None = None, more: dict[str, Any] | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _event(self._object("chat.completion.chunk", [choice]) | (more or {}))

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}


def failed(body: dict[str, Any]) -> bytes:
    """An error in the middle of a stream."""
    return _event(body) + b"data: [DONE]\n\n"


def _end(done: Done) -> dict[str, Any]:
    return {
        "usage": {
            "prompt_tokens": done.prompt_tokens,
            "completion_tokens": done.completion_tokens,
            "total_tokens": done.prompt_tokens + done.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": done.cached_tokens},
        },
        "metrics": done.metrics,
        "rushes": dict(done.facts),
    }


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode() + b"\n\n"
