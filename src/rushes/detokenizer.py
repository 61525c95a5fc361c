"""Text as it is accepted: tokens in, finished characters out."""

from typing import Any


class Detokenizer:
    """Decodes a growing answer without decoding all of it again for every token.

    Bytes of an unfinished character are held back until the token that completes it arrives.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._context = 0  # decoding starts here: some tokenizers write a token differently at the start of a text
        self._shown = 0  # tokens whose text is out

    def add(self, tokens: list[int]) -> str:
        """The text that these tokens finish."""
        self._tokens += tokens
        before = self._decode(self._tokens[self._context : self._shown])
        after = self._decode(self._tokens[self._context :])
        if after.endswith("\ufffd") or len(after) <= len(before):
            return ""
        self._context, self._shown = self._shown, len(self._tokens)
        return after[len(before) :]

    def finish(self) -> str:
        """What was held back, as it is."""
        before = self._decode(self._tokens[self._context : self._shown])
        after = self._decode(self._tokens[self._context :])
        self._shown = len(self._tokens)
        return after[len(before) :]

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))
