"""The letter is found by the documented rules, and what cannot be scored by a rule is not scored."""

from pathlib import Path

import pytest

from rushes.data import Sample, letter_in, score

ABCDE = tuple("ABCDE")


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        # 1: the whole answer
        ("A", "A"),
        ("b", "B"),
        (" (c). ", "C"),
        ("**D**", "D"),
        ("[E]", "E"),
        ("\uff08B\uff09", "B"),
        ('"B"', "B"),
        # 2: announced
        ("The answer is (B).", "B"),
        ("The answer is B", "B"),
        ("The correct answer is: **B. a dog**", "B"),
        ("A dog and a cat. Answer: C", "C"),
        ("Option A is wrong. The correct option is D.", "D"),
        ("Best choice: E", "E"),
        ("The answer is option B", "B"),
        ("A. dog\nB. cat\nThe answer is B.", "B"),
        # 3: set off at the start of a line
        ("B. a dog", "B"),
        ("B) A dog", "B"),
        ("(B) A dog, unlike C", "B"),
        ("A: the dog", "A"),
        ("B - a dog", "B"),
        ("C\nbecause it barks", "C"),
        ("Let me see.\nD. a cow", "D"),
        # 4: alone
        ("I think it's C", "C"),
        ("C because it barks", "C"),
        ("A is right", "A"),
        ("A dog, so B", "B"),
        ("I would say (A)", "A"),
        ("D, though D is close", "D"),
        # none
        ("", None),
        ("a dog", None),
        ("A dog runs", None),
        ("The answer is a dog", None),
        ("The answer is A dog", None),
        ("Because", None),
        ("F", None),
        ("Vitamin-C", None),
        ("B's dog", None),
        ("ABC", None),
        # two
        ("A or B", None),
        ("A, B", None),
        ("B and C", None),
        ("A. dog\nB. cat", None),
        ("The answer is A. No, the answer is B.", None),
    ],
)
def test_letter_in(text: str, letter: str | None) -> None:
    assert letter_in(text, ABCDE) == letter


def test_only_the_letters_of_the_sample_count() -> None:
    assert letter_in("C", ("A", "B")) is None
    assert letter_in("I see", tuple("ABCDEFGHI")) is None
    assert letter_in("I", tuple("ABCDEFGHI")) == "I"
    assert letter_in("B", ()) is None


def sample(kind: str, answer: str | None, letters: tuple[str, ...] = ()) -> Sample:
    return Sample("1", Path("a.mp4"), "?", answer, kind, letters)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "text", "expected"),
    [
        (sample("choice", "B", ABCDE), "The answer is (B).", 1.0),
        (sample("choice", "B", ABCDE), "C", 0.0),
        (sample("choice", "B", ABCDE), "no idea", 0.0),
        (sample("choice", "B", ABCDE), "B or C", 0.0),
        (sample("choice", None, ABCDE), "B", None),
        (sample("open", "Ein Käse"), " ein  KÄSE! ", 1.0),
        (sample("open", "the red car"), "A red car.", 1.0),
        (sample("open", "straße"), "STRASSE", 1.0),
        (sample("open", "\uff46ive"), "five", 1.0),
        (sample("open", "red car"), "a red car drives", 0.0),
        (sample("open", "A"), "the", 0.0),
        (sample("open", "?"), "!", 0.0),
        (sample("open", None), "five", None),
        (sample("description", "A dog runs."), "A dog runs.", None),
        (sample("description", None), "A dog runs.", None),
    ],
)
def test_score(one: Sample, text: str, expected: float | None) -> None:
    assert score(one, text) == expected
