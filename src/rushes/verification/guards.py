"""Tokens that loose verification never relaxes: a wrong one changes what an answer says, however small it looks."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from rushes.errors import RushesError, unknown_name

_NEGATIONS = re.compile(
    r"no|not|non|never|none|nor|neither|nothing|nobody|nowhere|without|cannot|cant|dont|['\u2019]t|"
    r"(is|are|was|were|does|do|did|wo|ca|could|should|would|has|have|had|must)?n['\u2019]t",
    re.IGNORECASE,
)
_NUMBERS = re.compile(
    r"zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(thir|four|fif|six|seven|eigh|nine)teen|"
    r"(twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand|million|once|twice|"
    r"first|second|third|(four|fif|six|seven|eigh|nin|ten)th",
    re.IGNORECASE,
)
_LETTER = re.compile(r"\(?[A-J][.):]?")  # of a multiple-choice answer

GUARDS: dict[str, Callable[[str], bool]] = {
    "digits": lambda text: any(c.isdigit() for c in text) or bool(_NUMBERS.fullmatch(text)),
    "negations": lambda text: bool(_NEGATIONS.fullmatch(text)),
    "letters": lambda text: bool(_LETTER.fullmatch(text)),
}
EOS = "eos"
ALL = (EOS, *GUARDS)


def check_guards(names: Iterable[str]) -> None:
    """Refuse guards that do not exist.

    Raises:
        RushesError: An unknown name.
    """
    for name in names:
        if name not in (*ALL, "none"):
            raise unknown_name("guard", name, [*ALL, "none"])


class Guards:
    """The guarded tokens of a tokenizer, found once.

    Args:
        tokenizer: Of the target; without one only end-of-sequence can be guarded.
    """

    def __init__(self, tokenizer: Any = None) -> None:
        self._tokenizer = tokenizer
        self._found: dict[str, frozenset[int]] = {}

    def tokens(self, names: Iterable[str], eos: Iterable[int]) -> frozenset[int]:
        """The ids that the named guards protect.

        Args:
            names: Of `ALL`: `eos` is every token that ends an answer, and the special ones; `digits` also numbers in
                words; `negations` and number words are English; `letters` are those of multiple-choice answers, A to J.
            eos: Tokens that end this answer.

        Raises:
            RushesError: A guard that reads words, without a tokenizer.
        """
        made: set[int] = set()
        for name in names:
            if name == EOS:
                made |= set(eos) | set(getattr(self._tokenizer, "all_special_ids", ()))
            elif name in GUARDS:
                made |= self._words(name)
        return frozenset(made)

    def _words(self, name: str) -> frozenset[int]:
        if self._tokenizer is None:
            raise RushesError(
                f"the guard {name!r} reads words, and this pair has no tokenizer: give Pair the processor, or guard "
                "nothing but the end, as in lvspec:guards=eos"
            )
        if name not in self._found:
            protects = GUARDS[name]
            vocabulary = self._tokenizer.get_vocab().items()
            self._found[name] = frozenset(i for piece, i in vocabulary if protects(self._text(piece)))
        return self._found[name]

    def _text(self, piece: str) -> str:
        """What a piece of the vocabulary stands for, without the space before it, which tokenizers mark each their way.

        Pieces of a byte-level vocabulary are written in letters of their own beyond ASCII.
        """
        text = piece.lstrip("Ġ▁ ")
        if not text.isascii() and hasattr(self._tokenizer, "convert_tokens_to_string"):
            return str(self._tokenizer.convert_tokens_to_string([text])).strip()
        return text
