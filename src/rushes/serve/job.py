"""What passes between HTTP and the models; all of it can cross to another process."""

from dataclasses import dataclass, field
from typing import Any

from rushes.serve.media import Kind, Medium
from rushes.settings import Settings


@dataclass(frozen=True, slots=True)
class Link:
    """A picture or video that was not fetched yet."""

    kind: Kind
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Said:
    """One turn of a conversation: a role, and text and media in their order, as the request has them."""

    role: str
    parts: tuple[str | Link | Medium, ...]


@dataclass(frozen=True, slots=True)
class Job:
    """A request that was understood.

    Args:
        id: Of the request, in logs.
        turns: The conversation.
        settings: How to answer.
        num_frames, fps: Which frames of each video; the checkpoint's own rule without either.
        stop: Texts that end the answer; they are not part of it.
        reuse: May earlier requests' work be used, and this one's be kept?
        details: Send what the page shows: how each word came about, what was kept.
        client: Whose request it is, for a fair order.
    """

    id: str
    turns: tuple[Said, ...]
    settings: Settings
    num_frames: int | None = None
    fps: float | None = None
    stop: tuple[str, ...] = ()
    reuse: bool = True
    details: bool = False
    client: str = ""

    @property
    def has_media(self) -> bool:
        """Is there more than text in it?"""
        return any(not isinstance(part, str) for turn in self.turns for part in turn.parts)

    @property
    def media(self) -> list[Medium]:
        """All pictures and videos that were fetched, in their order."""
        return [part for turn in self.turns for part in turn.parts if isinstance(part, Medium)]


@dataclass(frozen=True, slots=True)
class Piece:
    """A step of an answer.

    Attributes:
        text: What can be shown now.
        details: For the page; None where they were not asked for, or where there is nothing new.
    """

    text: str = ""
    details: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The end of an answer.

    Attributes:
        finish_reason: "stop" or "length".
        prompt_tokens, cached_tokens, completion_tokens: Cached ones were read by an earlier request.
        metrics: As in `generate --json`.
        facts: Method, lossless, frames, video tokens, kept ones, notes.
    """

    finish_reason: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    metrics: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)


Message = Piece | Done
