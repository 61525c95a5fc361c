"""Token maps decide whether two models speak the same tokens."""

import pytest

from rushes import RushesError
from rushes.vocabulary import common_vocabulary, first_difference

MAP = {"a": 0, "b": 1, "<end>": 7}


def test_equal_maps_reach_to_their_last_token() -> None:
    assert common_vocabulary(MAP, dict(reversed(MAP.items()))) == 8
    assert first_difference(MAP, dict(MAP)) is None


@pytest.mark.parametrize(
    ("draft", "difference"),
    [
        ({"a": 0, "c": 1, "<end>": 7}, "token 1 is 'b' in the target and 'c' in the draft"),
        ({"a": 0, "b": 1}, "token 7 is '<end>' in the target and no token in the draft"),
        ({**MAP, "<more>": 8}, "token 8 is no token in the target and '<more>' in the draft"),
        ({"b": 0, "a": 1, "<end>": 8}, "token 0 is 'a' in the target and 'b' in the draft"),
        ({**MAP, "A": 0}, "token 0 is 'a' in the target and 'A' in the draft"),
    ],
)
def test_the_first_differing_token_is_named(draft: dict[str, int], difference: str) -> None:
    assert first_difference(MAP, draft) == difference
    with pytest.raises(RushesError, match=difference):
        common_vocabulary(MAP, draft)


def test_two_names_of_one_id_are_a_difference_even_when_hidden() -> None:
    assert first_difference({"x": 0, "a": 0}, {"a": 0}) == "one token has two ids"
