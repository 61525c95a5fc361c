"""Is an answer right? By rules that anybody can check, without a judging model."""

import re
import unicodedata
from collections.abc import Sequence

from rushes.data.sample import Sample

# "A is right" and "A or B" speak of the letter; "A dog" does not.
_NOT_AN_ARTICLE = r"(?:or|and|nor|is|because|since|as|but)\b"


def score(sample: Sample, text: str) -> float | None:
    """1.0 for a right answer, 0.0 for a wrong one.

    Args:
        text: all that the model wrote.

    Returns:
        None where no rule can tell: descriptions, and samples whose answer is not published. Multiple choice: is
        `letter_in` the letter of the answer? An answer without a letter, or with several, is wrong. Open questions: are
        both texts the same after `normalised`?
    """
    if sample.kind == "description" or sample.answer is None:
        return None
    if sample.kind == "choice":
        return float(letter_in(text, sample.letters) == sample.answer)
    return float(normalised(text) == normalised(sample.answer))


def letter_in(text: str, letters: Sequence[str]) -> str | None:
    """The letter that an answer chooses. The first of these rules that finds letters decides; if they differ, none.

    1. The whole answer is a letter, in either case: "b", "(B)", "B.", "**B**".
    2. A letter that is announced: "The answer is (B)", "Answer: B", "the correct option is B", "Best choice: B".
    3. A letter at the start of a line, set off by a mark: "B. a dog", "(B) a dog", "B) a dog", "B: a dog", "B - a dog",
       or alone on its line.
    4. A capital letter that stands alone anywhere: "I think it's C", "C because it barks". An "A" or "I" before another
       word is the article or the pronoun, unless the word shows otherwise ("A or B", "A is right").

    What is not among `letters` is no letter. An option's text without its letter chooses nothing. The benchmarks' own
    scripts take the first capital letter they meet (lmms-eval, `extract_characters_regex` of videomme and mlvu), which
    reads "A dog, so B" as A and "Because" as B; on answers that are one letter both agree.
    """
    if not letters:
        return None
    plain = re.sub(r"[*_`\"\u201c\u201d]", "", unicodedata.normalize("NFKC", text)).strip()
    one = f"[{''.join(letters)}]"
    if whole := re.fullmatch(rf"[(\[]?({one})[)\].:,]*", plain, re.IGNORECASE):
        return whole[1].upper()
    alone = rf"(?<![\w'\u2019-])({one})(?![\w'\u2019]|-\w)"
    capital = rf"(?:(?<=\(){alone}(?=\))|(?<=\[){alone}(?=\])|{_no_word(alone)})"
    rules = (
        rf"(?i:\b(?:answer|option|choice|letter))(?i:\s+is\b\s*:?|\s*[:=])\s*(?i:option\s+)?[(\[]?{capital}",
        rf"^[ \t]*(?:[(\[]{alone}[)\]]|{alone}(?:[ \t]*[.):]|[ \t]+[-\u2013\u2014]|[ \t]*$))",
        capital,
    )
    for rule in rules:
        found = {next(filter(None, match.groups())) for match in re.finditer(rule, plain, re.MULTILINE)}
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def normalised(text: str) -> str:
    """For comparing: compatible characters made equal, no case, punctuation or articles, single spaces.

    A text that is nothing else keeps them: "A" and "?" are not the same answer.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = "".join(" " if unicodedata.category(c)[0] in "PS" else c for c in folded).split()
    return " ".join(word for word in words if word not in ("a", "an", "the")) or " ".join(folded.split())


def _no_word(alone: str) -> str:
    """The pattern of a lone letter, less an A or I that another word follows."""
    return rf"(?![AI]\s+(?!{_NOT_AN_ARTICLE})\w){alone}"
