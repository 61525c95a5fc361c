"""Stop texts end an answer wherever its pieces are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rushes.serve.stops import Stops


@pytest.mark.parametrize(
    ("texts", "pieces", "shown", "hit"),
    [
        ((), ["one ", "two"], ["one ", "two"], False),
        (("END",), ["one EN", "D two"], ["one ", ""], True),
        (("END",), ["one EN", "C two"], ["one ", "ENC two"], False),
        (("b", "ab"), ["xab"], ["x"], True),
        (("\n",), ["line\nmore"], ["line"], True),
        (("aab",), ["aa", "ab"], ["", "a"], True),
    ],
)
def test_examples(texts: tuple[str, ...], pieces: list[str], shown: list[str], hit: bool) -> None:
    stops = Stops(texts)
    assert [stops.add(piece) for piece in pieces] == shown
    assert stops.hit is hit


@given(
    st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
    st.lists(st.text("ab", max_size=4), max_size=12),
)
def test_the_answer_ends_where_the_first_stop_text_begins(texts: list[str], pieces: list[str]) -> None:
    stops, whole = Stops(texts), "".join(pieces)
    shown = ""
    for piece in pieces:
        shown += stops.add(piece)
        assert not any(text in shown for text in texts)
    shown += stops.finish()
    # By pieces: the first piece that completes a stop text decides, and of those the one that begins first.
    ends = [len("".join(pieces[: i + 1])) for i in range(len(pieces))]
    end = next((end for end in ends if any(text in whole[:end] for text in texts)), None)
    if end is None:
        assert shown == whole
        assert not stops.hit
    else:
        assert stops.hit
        assert shown == whole[: min(at for text in texts if (at := whole[:end].find(text)) >= 0)]
