"""A Result of hand-made words, one of every kind and more."""

from typing import Any

from rushes.result import Result, Word
from rushes.window import EXACT, TARGET, Mark

WORDS = (
    Word(1, "A", TARGET),
    Word(2, " red", Mark("exact", True, 0.91)),
    Word(3, " square", EXACT),
    Word(4, " is", Mark("exact", False, 0.012)),
    Word(5, " slowly", Mark("relaxed", False, 0.0034, 15), " quietly"),
    Word(6, " moving", Mark("shifted", True, 0.5, 16), " going"),
    Word(7, " left", Mark("correction", True, 0.7, 17), " right"),
    Word(8, ".", Mark("correction")),
    Word(9, "\n\n", Mark("relaxed", False, 0.001, 19), " "),
    Word(10, " ", TARGET),
    Word(11, "", Mark("relaxed", False, 0.02, 21), ""),
    Word(12, "<script>alert(1)</script>", Mark("exact", True, 0.3)),
    Word(13, ' "&amp;"\r\n', Mark("shifted", True, 0.2, 23), "<b>"),
    Word(14, "é", TARGET),
)
COUNTS = {"anchor": 3, "exempt": 1, "relaxed": 3, "shifted": 2, "correction": 2, "target": 3}


def result(words: tuple[Word, ...] = WORDS, **other: Any) -> Result:
    """What a request gives back; not lossless unless told so."""
    made: dict[str, Any] = {
        "text": "".join(word.text for word in words),
        "token_ids": [word.token_id for word in words],
        "finish_reason": "stop",
        "method": "lvspec",
        "lossless": False,
        "frames": 8,
        "video_tokens": 96,
        "kept_indices": [1, 2, 3],
        "metrics": {},
        "words": words,
    }
    return Result(**made | other)
