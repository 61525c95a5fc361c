"""Multiple choice: options as lines under a question, and the letter of the right one."""

import re
from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase

from rushes.data.rows import Row
from rushes.data.sample import Missing, Sample, Skipped

DIRECTLY = "Answer with the option's letter from the given choices directly."


def letters_of(options: Sequence[str]) -> tuple[str, ...]:
    """A, B, C, ... (26 at most), one for every option."""
    return tuple(ascii_uppercase[: len(options)])


def option_lines(options: Sequence[str]) -> str:
    """ "A. first" and so on, a line each."""
    return "\n".join(f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False))


def bare(options: Sequence[str]) -> tuple[str, ...]:
    """The options without the letters that they bring along; an option that does not bring its own is left alone."""
    given = zip(ascii_uppercase, options, strict=False)
    return tuple(re.sub(rf"\A\s*\(?{letter}[.):]\s*", "", option).strip() for letter, option in given)


def letter_of(answer: str, options: Sequence[str]) -> str | None:
    """The letter of the (first) option that reads as `answer`; None if none does."""
    for letter, option in zip(ascii_uppercase, options, strict=False):
        if option.strip() == answer.strip():
            return letter
    return None


def choice_by_text(
    id: str, video: Path, row: Row, missing: Missing, seconds: tuple[float, float] | None = None
) -> Sample | None:
    """The sample of a row {"question", "candidates", "answer"} whose answer is the text of a candidate.

    An answer that is none of the candidates is a slip of the benchmark, told to `missing`: any letter would be a guess.

    Raises:
        RushesError: a field is not there, or of another type.
    """
    options, answer = row.texts("candidates"), row.text("answer")
    prompt = f"Question: {row.text('question')}\nOptions:\n{option_lines(options)}\n{DIRECTLY}"
    letter = letter_of(answer, options)
    if letter is None:
        missing(Skipped(id, f"its answer {answer!r} is none of its candidates"))
        return None
    return Sample(id, video, prompt, letter, "choice", letters_of(options), seconds)
