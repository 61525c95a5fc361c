"""The page of an answer: every kind of word, whatever its text, and figures that are those of the JSON."""

import re
from collections import Counter
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from explaining import COUNTS, WORDS, result
from rushes.errors import RushesError
from rushes.explain import LOOSE, LOSSLESS, check_explain, page, save_explain
from rushes.explain_style import COLOURS
from rushes.result import KINDS, Word, counts
from rushes.window import EXACT, TARGET, Mark


class Reader(HTMLParser):
    """What a browser would make of a page: words, their own text, their tooltips; the legend's counts; all elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[dict[str, str]] = []
        self.own: list[str] = []
        self.tips: list[str] = []
        self.legend: dict[str, int] = {}
        self.elements: Counter[str] = Counter()
        self.inside: dict[str, str] = {}
        self._open: list[str] = []
        self._kind = ""
        self.feed(text)
        self.close()
        assert not self._open, "everything that is opened is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.elements[tag] += 1
        if tag == "meta":
            return
        name = given.get("class", "") or given.get("role", "") or tag
        self._open.append(name)
        self._kind = given.get("data-kind", self._kind)
        if name == "word":
            self.words.append(given)
            self.own.append("")
            self.tips.append("")

    def handle_endtag(self, tag: str) -> None:
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if "tooltip" in self._open:
            self.tips[-1] += data
        elif "word" in self._open:
            self.own[-1] += data
        elif self._open:
            if self._open[-1] == "count":
                self.legend[self._kind] = int(data)
            for name in self._open:
                self.inside[name] = self.inside.get(name, "") + data


def test_every_word_is_there_as_it_is_and_says_how_it_came_about() -> None:
    read = Reader(page(result()))
    assert read.own == [word.text for word in WORDS]
    assert [word["data-how"] for word in read.words] == [word.mark.how for word in WORDS]
    assert [word["data-strict"] for word in read.words] == [str(word.mark.strict).lower() for word in WORDS]
    assert [word["data-kind"] for word in read.words] == [word.kind for word in WORDS]
    assert all(word["tabindex"] == "0" for word in read.words), "the keyboard reaches each"
    labels = [word["aria-describedby"] for word in read.words]
    assert len(set(labels)) == len(WORDS)
    for word, tip in zip(WORDS, read.tips, strict=True):
        assert tip.startswith(LOOSE[word.kind][0])
        assert f"the {'draft' if word.mark.drafted else 'target'}'s word" in tip
        assert ("Relevance" in tip) == (word.mark.relevance is not None)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (4, "The target would have said  quietly.Relevance to the video: 0.0034word 5 of 14, token 5"),
        (5, "The target would have said  going.Relevance to the video: 0.5"),
        (6, "The draft had said  right."),
        (7, "The draft had something else here."),
        (8, "⏎⏎ is the draft's word"),
        (8, "The target would have said ␣."),
        (10, "token 11 is the draft's word"),
        (10, "The target would have said token 21."),
        (12, ' "&amp;"⏎ is the draft'),
        (12, "The target would have said <b>."),
    ],
)
def test_what_else_would_have_stood_there(place: int, said: str) -> None:
    assert said in Reader(page(result())).tips[place]


def test_counts_are_the_same_everywhere() -> None:
    made = result()
    read = Reader(page(made))
    assert counts(WORDS) == made.to_json()["counts"] == read.legend == COUNTS
    assert Counter(word["data-kind"] for word in read.words) == COUNTS
    assert sum(COUNTS.values()) == len(WORDS)
    assert "14 tokens: 9 by the draft, 5 by the target; the answer ended by itself" in read.inside["sum"]
    assert counts(()) == dict.fromkeys(KINDS, 0)


def test_lossless_or_not() -> None:
    loose = Reader(page(result()))
    assert loose.inside["lossless"] == "no: the answer may differ from the target's own."
    words = (Word(1, "A", TARGET), Word(2, " b", EXACT), Word(3, " c", Mark("correction", other=9), " d"))
    exact = Reader(page(result(words, lossless=True, method="sd")))
    assert exact.inside["lossless"].startswith("yes: the draft's words make the answer come sooner")
    assert exact.inside["method"] == "sd"
    assert exact.legend == {"anchor": 1, "correction": 1, "target": 1}, "kinds that a lossless method does not have"
    assert exact.tips[1].startswith(LOSSLESS["anchor"][0])
    assert "may differ" not in page(result(words, lossless=True))
    alone = Reader(page(result(words[:1], lossless=True, method="ar")))
    assert alone.inside["lossless"] == "yes: the target wrote every word itself."


def test_nothing_in_it_is_taken_for_markup() -> None:
    bad = '</style></title><script src="//x"></script><img onerror=x>\'"&lt;'
    words = (Word(1, bad, Mark("relaxed", False, 0.5, 2), bad), Word(3, bad, Mark("correction", other=4), bad))
    plain = Reader(page(result(WORDS[:2]), "?"))
    read = Reader(page(result(words, method=bad), bad))
    assert "script" not in read.elements
    assert "img" not in read.elements
    assert read.elements.keys() <= plain.elements.keys()
    assert read.own == [bad, bad]
    assert read.inside["question"] == read.inside["method"] == bad
    assert all(bad in tip for tip in read.tips)


def test_nothing_is_fetched() -> None:
    text = page(result(), "What?")
    assert not re.search(r"https?:|src=|href=|url\(|@import|<script|<link", text)
    assert "default-src 'none'" in text


def test_blanks_and_words_without_text_can_be_seen() -> None:
    made = (("", "empty"), (" ", "blank"), ("\t", "blank"), ("\n", "break"), (" \n\n ", "break"))
    for text, mark in made:
        made_page = page(result((Word(1, text, TARGET),)))
        assert f'<span class="ink"><i class="{mark}"></i></span>' in made_page
        assert Reader(made_page).own == [text]
        assert made_page.count('<i class="break">') == text.count("\n")
    assert '.</span><span role="tooltip"' in page(result((Word(1, " .\n", TARGET),)))
    assert 'class="break"></i>\n</span>' in page(result((Word(1, " .\n", TARGET),)))


def test_texts_that_no_page_can_hold(tmp_path: Path) -> None:
    save_explain(result((Word(1, "a\0\ud800", TARGET),)), tmp_path / "a.html", "\udcff")
    assert Reader((tmp_path / "a.html").read_text()).own == ["a\ufffd?"]


def test_an_answer_whose_words_are_not_known() -> None:
    read = Reader(page(result((), text="A <b>.", token_ids=[1, 2])))
    assert read.inside["answer"] == "A <b>."
    assert read.words == []
    assert "answer" not in Reader(page(result(()))).inside, "an empty one"
    assert "question" not in read.inside


def test_colours_are_told_apart_whatever_colours_one_sees() -> None:
    # Machado, Oliveira and Fernandes 2009, severity 1; distances in CIELAB, where 2 can just be seen.
    views = {
        "all": np.eye(3),
        "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
    }
    to_xyz = np.array([[0.434, 0.376, 0.190], [0.213, 0.715, 0.072], [0.018, 0.109, 0.873]])  # white is (1, 1, 1)

    def linear(colour: str) -> np.ndarray:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        value = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
        return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)

    def lab(light: np.ndarray) -> np.ndarray:
        f = to_xyz @ np.clip(light, 0, 1)
        f = np.where(f > 0.008856, np.cbrt(f), 7.787 * f + 16 / 116)
        return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])

    assert COLOURS.keys() == set(KINDS)
    for name, view in views.items():
        seen = {kind: lab(np.array(view) @ linear(fill)) for kind, (fill, _) in COLOURS.items()}
        for one, other in combinations(seen, 2):
            assert np.linalg.norm(seen[one] - seen[other]) > 20, (name, one, other)
    for kind, (fill, on) in COLOURS.items():  # WCAG's contrast for text
        low, high = sorted(float(to_xyz[1] @ linear(colour)) for colour in (fill, on))
        assert (high + 0.05) / (low + 0.05) >= 4.5, kind


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.htm", "a page ends in .html; rename it"),
        ("a", "a page ends in .html"),
        (".html", "a page ends in .html"),
        ("none/a.html", "there is no folder .*none; make it, or choose another place"),
        ("folder", "is a folder; name a file in it, such as .*folder/explain.html"),
        ("folder.html", "is a folder; name a file in it"),
        ("file/a.html", r"cannot write here \(Not a directory\)"),
        ("x" * 300 + ".html", r"cannot write here \(File name too long\)"),
    ],
)
def test_what_is_refused(tmp_path: Path, name: str, said: str) -> None:
    for folder in ("folder", "folder.html"):
        (tmp_path / folder).mkdir()
    (tmp_path / "file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for act in (check_explain, lambda path: save_explain(result(), path)):
        with pytest.raises(RushesError, match=said) as error:
            act(tmp_path / name)
        assert "\n" not in str(error.value)
        assert str(error.value).startswith(str(tmp_path / name))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_place_that_cannot_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The suite may run as root, whom no permission stops.
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", denied)
    with pytest.raises(RushesError, match=r"cannot write here \(Permission denied\); choose another place"):
        check_explain(tmp_path / "a.html")


def test_a_page_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.HTML"
    path.write_text("the old one")
    check_explain(path)
    assert path.read_text() == "the old one"

    def full(file: Path, _: bytes) -> None:
        file.write_text("half of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(RushesError, match=r"cannot write here \(No space left on device\)"):
            save_explain(result(), path)
    assert [file.name for file in tmp_path.iterdir()] == ["a.HTML"]
    assert path.read_text() == "the old one"
    save_explain(result(), path)
    assert path.read_text() == page(result())
