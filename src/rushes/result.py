"""What a request gives back."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rushes.timeline import Timeline
from rushes.window import Mark

# The kinds of words; what they are called is what `Mark.how` says, but that "exact" is two of them.
ANCHOR, EXEMPT = "anchor", "exempt"
KINDS = (ANCHOR, EXEMPT, "relaxed", "shifted", "correction", "target")


@dataclass(frozen=True, slots=True)
class Check:
    """An answer held against plain decoding.

    Attributes:
        identical: Same tokens.
        first_divergence: Index of the first differing token.
        logit_gap: How much the target prefers plain decoding's token there: near 0 is a tie that rounding decides.
    """

    identical: bool
    first_divergence: int | None = None
    logit_gap: float | None = None


@dataclass(frozen=True, slots=True)
class Word:
    """One token of an answer.

    Attributes:
        text: What it adds to the text; "" where a character needs further tokens, or without a tokenizer.
        mark: How it came about.
        other: The text of `mark.other`, "" if that is None.
    """

    token_id: int
    text: str
    mark: Mark
    other: str = ""

    @property
    def kind(self) -> str:
        """One of `KINDS`: "anchor" had to be the target's choice, "exempt" did not have to, and yet it was."""
        if self.mark.how != "exact":
            return self.mark.how
        return ANCHOR if self.mark.strict else EXEMPT

    def to_json(self) -> dict[str, Any]:
        """As it stands in `tokens` of `generate --json`."""
        mark = self.mark
        return {
            "id": self.token_id,
            "text": self.text,
            "by": "draft" if mark.drafted else "target",
            "how": mark.how,
            "strict": mark.strict,
            "relevance": mark.relevance,
            "other": None if mark.other is None else {"id": mark.other, "text": self.other},
        }


def counts(words: Sequence[Word]) -> dict[str, int]:
    """How many words there are of each of `KINDS`; together they are all of them."""
    found = dict.fromkeys(KINDS, 0)
    for word in words:
        found[word.kind] += 1
    return found


def words_of(tokens: list[int], pieces: list[str], marks: list[Mark], processor: Any) -> tuple[Word, ...]:
    """An answer's words.

    Args:
        tokens, pieces: (n,) the answer and what each token adds to its text.
        marks: (n,) or more: some may lie behind the end of the answer.
        processor: Holds the tokenizer; None leaves the others' texts empty.
    """

    def text(token: int | None) -> str:
        return "" if token is None or processor is None else str(processor.tokenizer.decode([token]))

    made = zip(tokens, pieces, marks, strict=False)
    return tuple(Word(token, piece, mark, text(mark.other)) for token, piece, mark in made)


@dataclass(frozen=True, slots=True)
class Result:
    """An answer and how it came about; `to_json` is the contract of `generate --json`.

    Attributes:
        kept_indices: Video tokens that the draft sees, in one layer of the target at least for `std`.
        kept_per_layer: How many each layer sees, where every layer chooses for itself.
        words: The answer token by token, and how each came about.
        timeline: Who was busy when, since the inputs were there; not part of the JSON.
    """

    text: str
    token_ids: list[int]
    finish_reason: str
    method: str
    lossless: bool
    frames: int
    video_tokens: int
    kept_indices: list[int]
    metrics: dict[str, Any]
    notes: tuple[str, ...] = ()
    check: Check | None = None
    kept_per_layer: int | None = None
    words: tuple[Word, ...] = ()
    timeline: Timeline = field(default_factory=Timeline, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """One JSON-serialisable object."""
        made: dict[str, Any] = {
            "text": self.text,
            "token_ids": self.token_ids,
            "finish_reason": self.finish_reason,
            "method": self.method,
            "lossless": self.lossless,
            "video": {
                "frames": self.frames,
                "tokens": self.video_tokens,
                "kept_tokens": len(self.kept_indices),
                "kept_indices": self.kept_indices,
            },
            "metrics": self.metrics,
            "tokens": [word.to_json() for word in self.words],
            "counts": counts(self.words),
        }
        if self.kept_per_layer is not None:
            made["video"]["kept_tokens_per_layer"] = self.kept_per_layer
        if self.notes:
            made["notes"] = list(self.notes)
        if self.check is not None:
            made["check"] = {
                "identical": self.check.identical,
                "first_divergence": self.check.first_divergence,
                "logit_gap": self.check.logit_gap,
            }
        return made


@dataclass(frozen=True, slots=True)
class Event:
    """One step of a streamed answer.

    Attributes:
        text: What can be shown now; empty for steps without text.
        token_ids: Tokens emitted in this step.
        words: The same, and how each came about.
        kept_indices: Video tokens that the draft will see, once they are chosen.
        result: The whole answer, in the last event only.
    """

    text: str = ""
    token_ids: list[int] = field(default_factory=list)
    words: tuple[Word, ...] = ()
    kept_indices: list[int] | None = None
    result: Result | None = None
