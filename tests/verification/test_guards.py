"""Each guard stops a token that would slip through without it, however its tokenizer marks the space before it."""

from typing import Any, ClassVar

import pytest
import torch

from rushes import RushesError
from rushes.demo import bundled
from rushes.sampling import Sampling
from rushes.verification.base import Hearing
from rushes.verification.control import RandomRelaxation
from rushes.verification.fly import Fly
from rushes.verification.guards import ALL, GUARDS, Guards
from rushes.verification.loose import judge
from rushes.verification.lvspec import LVSpec
from rushes.window import Verdict, Window

STOPPED = {
    "eos": ["<end>", "<special>"],
    "digits": ["3", "42", "1.5", "x2", "seven", "Seven", "twelve", "fifteen", "forty", "once", "third", "ninth"],
    "negations": ["not", "No", "never", "without", "nothing", "n't", "isn't", "'t", "cannot"],
    "letters": ["A", "(B", "C.", "D)", "(J)", "B:"],
}
FREE = ["cat", "note", "None of", "knot", "nobly", "one-way", "someone", "tent", "K", "a", "AB", "(", "t", "Anot"]
PLAIN = "dog"
WORDS = [word for words in STOPPED.values() for word in words] + FREE + [PLAIN]
MARKERS = {"byte-level": "Ġ", "sentencepiece": "▁", "a space": " ", "none": ""}


class Tokenizer:
    """Whole words as pieces; the last two of `STOPPED["eos"]` are special."""

    def __init__(self, marker: str = "") -> None:
        self.ids = {marker + word if word not in STOPPED["eos"] else word: i for i, word in enumerate(WORDS)}
        self.all_special_ids = [WORDS.index("<special>")]
        self.asked = 0

    def get_vocab(self) -> dict[str, int]:
        self.asked += 1
        return self.ids


END = (WORDS.index("<end>"),)
CASES = [(name, word) for name, words in STOPPED.items() for word in words]


def test_the_guards_are_those_of_the_documentation() -> None:
    assert set(STOPPED) == set(ALL) == {"eos", *GUARDS}
    assert LVSpec().guards == RandomRelaxation().guards == Fly().guards == ALL


@pytest.mark.parametrize("marker", MARKERS.values(), ids=MARKERS)
@pytest.mark.parametrize("name", STOPPED)
def test_a_guard_protects_its_words_and_no_others(name: str, marker: str) -> None:
    found = Guards(Tokenizer(marker)).tokens([name], END)
    assert sorted(WORDS[i] for i in found) == sorted(STOPPED[name])


def test_all_and_none_and_what_is_found_once() -> None:
    tokenizer = Tokenizer()
    guards = Guards(tokenizer)
    for _ in range(2):
        found = guards.tokens(ALL, END)
        assert sorted(WORDS[i] for i in found) == sorted(word for words in STOPPED.values() for word in words)
    assert tokenizer.asked == len(GUARDS)
    assert guards.tokens(["none"], END) == frozenset()
    assert guards.tokens([], END) == frozenset()
    assert guards.tokens(["eos"], (5, 6)) == {5, 6, WORDS.index("<special>")}, "each request has an end of its own"


@pytest.mark.parametrize("draft_is_guarded", [True, False], ids=["the draft's", "the target's"])
@pytest.mark.parametrize(("name", "word"), CASES)
def test_what_would_slip_through(name: str, word: str, draft_is_guarded: bool) -> None:
    guarded = Guards(Tokenizer()).tokens([name], END)
    token, wanted = WORDS.index(word), WORDS.index(PLAIN)
    token, wanted = (token, wanted) if draft_is_guarded else (wanted, token)
    window, choices = Window([token], (-1,)), (wanted, 0)
    assert judge(window, choices, {0}, shift=2).path == [0]
    stopped = judge(window, choices, {0}, shift=2, guarded=guarded)
    assert (stopped.path, stopped.next_token) == ([], wanted)


def verify(guards: tuple[str, ...], token: int, wanted: int) -> Verdict:
    """One window of three through LVSpec with lambda 1: only a guard can stop the one in the middle."""
    rule = LVSpec(lambda_=1.0, n=1, guards=guards)
    judge = rule.begin(Hearing(torch.eye(4)[:2], Guards(Tokenizer()).tokens(rule.guards, END)))
    free = WORDS.index("cat")
    logits = torch.nn.functional.one_hot(torch.tensor([free, wanted, free, free]), len(WORDS)).float()
    return judge.verify(
        Window([free, token, free], (-1, 0, 1)), logits, Sampling(), torch.Generator(), None, torch.randn(4, 4)
    )


@pytest.mark.parametrize(("name", "word"), CASES)
def test_end_to_end_with_everything_relaxed(name: str, word: str) -> None:
    token, wanted = WORDS.index(word), WORDS.index(PLAIN)
    for ours, theirs in ((token, wanted), (wanted, token)):
        assert verify(("none",), ours, theirs).path == [0, 1, 2]
        assert verify(tuple(other for other in ALL if other != name), ours, theirs).path == [0, 1, 2]
        for guards in ((name,), ALL):
            stopped = verify(guards, ours, theirs)
            assert (stopped.path, stopped.next_token) == ([0], theirs)
            assert stopped.marks[-1].how == "correction"
    assert verify(ALL, token, token).path == [0, 1, 2], "equal is equal"


def test_the_bundled_tokenizers_words() -> None:
    """By what its tokens say, not by how its pieces are written."""
    from rushes.loading import load_processor

    tokenizer = load_processor(bundled.TARGET).tokenizer
    guards = Guards(tokenizer)
    said = {i: tokenizer.decode([i]) for i in tokenizer.get_vocab().values()}
    digits, letters = guards.tokens(["digits"], ()), guards.tokens(["letters"], ())
    special = set(tokenizer.all_special_ids)
    assert special
    assert guards.tokens(["eos"], ()) == special
    ascii_digits = {i for i, text in said.items() if set(text) & set("0123456789")}
    assert ascii_digits
    assert ascii_digits <= digits
    words = {"one", "two", "three", "four"}
    assert {text.strip() for i, text in said.items() if i in digits - ascii_digits} >= words & {
        text.strip() for text in said.values()
    }
    assert {i for i, text in said.items() if text.strip() in list("ABCDEFGHIJ")} <= letters
    assert len(digits) < len(said) / 2


@pytest.mark.parametrize("name", GUARDS)
def test_without_a_tokenizer_words_cannot_be_guarded(name: str) -> None:
    with pytest.raises(RushesError, match=f"'{name}' reads words, and this pair has no tokenizer.*guards=eos"):
        Guards().tokens(["eos", name], END)
    assert Guards().tokens(["eos"], END) == set(END)
    assert Guards().tokens(["none"], END) == set()


@pytest.mark.parametrize("rule", [LVSpec, RandomRelaxation, Fly])
def test_an_unknown_guard(rule: Any) -> None:
    with pytest.raises(RushesError, match="unknown guard 'digit'; did you mean 'digits'"):
        rule(guards=("eos", "digit"))
    with pytest.raises(RushesError, match="unknown guard 'zzz'; known: eos, digits, negations, letters, none"):
        rule(guards=("zzz",))


def test_pieces_beyond_ascii_are_read_as_what_they_stand_for() -> None:
    """A byte-level vocabulary writes the bytes of other scripts in letters, some of which look like digits."""

    class ByteLevel:
        all_special_ids = ()
        texts: ClassVar[dict[str, str]] = {"Ð²": "\u0432", "ï¼ĳ": "\uff11", "âĢĻt": "\u2019t"}

        def get_vocab(self) -> dict[str, int]:
            return {piece: i for i, piece in enumerate(self.texts)}

        def convert_tokens_to_string(self, tokens: list[str]) -> str:
            return "".join(self.texts[token] for token in tokens)

    guards = Guards(ByteLevel())
    assert guards.tokens(("digits",), ()) == {1}
    assert guards.tokens(("negations",), ()) == {2}
