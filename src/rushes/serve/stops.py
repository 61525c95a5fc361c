"""Texts that end an answer."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Stops:
    """Lets text through until one of the stop texts has come.

    Text that may be the beginning of one is held back until more of it is known.

    Args:
        texts: The stop texts; none lets everything through.

    Attributes:
        hit: Has one of them come?
    """

    texts: Sequence[str]
    hit: bool = False
    _held: str = ""

    def add(self, text: str) -> str:
        """What can be shown now."""
        if self.hit:
            return ""
        text = self._held + text
        found = [at for stop in self.texts if (at := text.find(stop)) >= 0]
        if found:
            self.hit, self._held = True, ""
            return text[: min(found)]
        held = max((_overlap(text, stop) for stop in self.texts), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def finish(self) -> str:
        """What was held back: the answer ended without a stop text."""
        rest, self._held = self._held, ""
        return rest


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of a text that is a beginning of a stop text."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
