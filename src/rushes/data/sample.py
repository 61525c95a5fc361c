"""One question about one video, whatever benchmark it comes from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["description", "choice", "open"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A video file and what to ask of it.

    Args:
        id: unique within its data set, and the same on every reading.
        video: an existing file; nobody has tried to decode it.
        prompt: the whole text for the model, options included.
        answer: for "choice" a letter of `letters`, else the reference text; None where the benchmark keeps it back.
        kind: "description" (free text that no rule here can score), "choice" (a letter is asked for) or "open" (a short
            text that can be compared).
        letters: of the options, in the order of the prompt; empty unless `kind` is "choice".
        seconds: the stretch of `video` that the question is about, where the benchmark cuts it out before asking; None
            means the whole file. Who asks about the whole file all the same answers another question.
    """

    id: str
    video: Path
    prompt: str
    answer: str | None
    kind: Kind
    letters: tuple[str, ...] = ()
    seconds: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A sample, or a whole task, that is published but cannot be used from this copy; `reason` is for people."""

    id: str
    reason: str


Missing = Callable[[Skipped], None]


def ignore(skipped: Skipped) -> None:
    """The `Missing` that keeps no list."""
