"""Pieces of a streamed answer add up to the whole text; no broken character is ever shown."""

from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from rushes._transformers import transformers
from rushes.detokenizer import Detokenizer

TEXTS = (
    "A red ball rolls to the left.",
    "naïve café, Ärger, 中文字符 and 日本語",
    "🎬🎥 two films 👩‍👩‍👧‍👦 a family 🇩🇪 a flag",
    "é̂ with two marks, \n\n a gap and  spaces  ",
    "�",
)


@cache
def byte_level() -> Any:
    """Byte-level BPE with few merges: most characters beyond ASCII take several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<end>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator([TEXTS[0], TEXTS[1]] * 3, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


def pieces(tokens: list[int], sizes: list[int]) -> list[str]:
    """The pieces when tokens arrive in groups of `sizes`, then one by one."""
    detokenizer, made = Detokenizer(byte_level()), []
    while tokens:
        size = sizes.pop(0) if sizes else 1
        made.append(detokenizer.add(tokens[:size]))
        tokens = tokens[size:]
    return [*made, detokenizer.finish()]


def whole(tokens: list[int]) -> str:
    return str(byte_level().decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))


@pytest.mark.parametrize("text", TEXTS)
@given(sizes=st.lists(st.integers(1, 6), max_size=20))
def test_pieces_add_up_to_the_text_and_hold_whole_characters(text: str, sizes: list[int]) -> None:
    tokens = byte_level().encode(text)
    assert len(tokens) > 1
    made = pieces(tokens, sizes)
    assert "".join(made) == whole(tokens) == text
    assert "�" not in "".join(made[:-1]) or "�" in text


@given(text=st.text(), sizes=st.lists(st.integers(1, 6), max_size=10), stop=st.booleans())
def test_any_text_streams(text: str, sizes: list[int], stop: bool) -> None:
    tokens = byte_level().encode(text) + ([byte_level().eos_token_id] if stop else [])
    assert "".join(pieces(tokens, sizes)) == whole(tokens)


@given(tokens=st.lists(st.integers(0, 299), max_size=40), sizes=st.lists(st.integers(1, 6), max_size=10))
def test_any_tokens_stream_even_broken_characters(tokens: list[int], sizes: list[int]) -> None:
    assert "".join(pieces(list(tokens), sizes)) == whole(tokens)


def test_text_is_shown_as_soon_as_its_character_is_complete() -> None:
    tokens = byte_level().encode("a🎬b")
    assert len(tokens) == 6
    assert pieces(tokens, []) == ["a", "", "", "", "🎬", "b", ""]


def test_an_unfinished_character_comes_out_at_the_end() -> None:
    tokens = byte_level().encode("a🎬")[:-1]
    made = pieces(tokens, [])
    assert made[:-1] == ["a", "", "", ""]
    assert "".join(made) == whole(tokens)
