"""The page of `rushes generate --explain` in a browser that has no network."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from chromium import Browser, chromium, emulate, keep_picture, requests
from explaining import COUNTS, WORDS, result
from rushes.explain import save_explain

OWN = """return arguments[0].map(word =>
    [...word.childNodes].filter(node => node.role != "tooltip").map(node => node.textContent).join(""))"""
SHOWN = """return [...document.querySelectorAll('[role="tooltip"]')].map(tip =>
    getComputedStyle(tip).visibility == "visible")"""
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Headless Chromium, offline."""
    with chromium(tmp_path_factory.mktemp("profile")) as made:
        made.set_network_conditions(offline=True, latency=0, throughput=0)
        yield made


def see(browser: Browser, path: Path, width: int = 900, height: int = 800, scheme: str = "light") -> list[WebElement]:
    """Open a page in a window of that size; its words."""
    emulate(browser, width, height, scheme)
    browser.get(path.as_uri())
    return browser.find_elements(By.CSS_SELECTOR, "span.word")


def tip(word: WebElement) -> WebElement:
    return word.find_element(By.CSS_SELECTOR, '[role="tooltip"]')


def point_at(browser: Browser, word: WebElement) -> None:
    ActionChains(browser).move_to_element(word.find_element(By.CSS_SELECTOR, ".ink")).perform()


def legend(browser: Browser) -> dict[str, int]:
    found = browser.find_elements(By.CSS_SELECTOR, ".legend [data-kind]")
    return {str(key.get_attribute("data-kind")): int(key.find_element(By.CSS_SELECTOR, ".count").text) for key in found}


@pytest.fixture
def hand_made(tmp_path: Path) -> Path:
    """A page with a word of every kind."""
    save_explain(result(), tmp_path / "hand-made.html", "What does the red square do?")
    return tmp_path / "hand-made.html"


def test_an_answer_is_explained_offline(rushes: Run, video: Path, tmp_path: Path, browser: Browser) -> None:
    path = tmp_path / "a.html"
    made = rushes("generate", video, "--method", "lvspec", "--json", "--explain", path)
    assert made.code == 0
    answer = json.loads(made.out)
    requests(browser)
    words = see(browser, path)
    assert requests(browser) == [path.as_uri()], "the page is all there is"
    assert browser.get_log("browser") == [], "and nothing in it was refused"
    found = Counter((word.get_attribute("data-how"), word.get_attribute("data-strict")) for word in words)
    assert found == Counter((token["how"], str(token["strict"]).lower()) for token in answer["tokens"])
    assert legend(browser) == answer["counts"]
    assert sum(answer["counts"].values()) == len(words) == len(answer["token_ids"])
    assert browser.execute_script(OWN, words) == [token["text"] for token in answer["tokens"]]
    assert "the answer may differ from the target's own" in browser.find_element(By.CSS_SELECTOR, ".lossless").text
    for word, token in zip(words, answer["tokens"], strict=True):
        said = str(tip(word).get_attribute("textContent"))
        assert ("would have said" in said) == (token["how"] in ("relaxed", "shifted"))
        assert f"token {token['id']}" in said
    telling = [word for word in words if word.get_attribute("data-how") in ("relaxed", "correction")]
    point_at(browser, (telling or words)[0])
    keep_picture(browser, "explain")


@pytest.mark.parametrize(("width", "height", "scheme"), [(1200, 800, "light"), (1200, 300, "dark"), (360, 640, "dark")])
def test_words_say_more_when_pointed_at(
    browser: Browser, hand_made: Path, width: int, height: int, scheme: str
) -> None:
    words = see(browser, hand_made, width, height, scheme)
    assert len(words) == len(WORDS)
    assert legend(browser) == COUNTS
    for word, known in zip(words, WORDS, strict=True):
        point_at(browser, word)
        assert tip(word).is_displayed()
        assert browser.execute_script(SHOWN) == [other == word for other in words]
        assert not known.other.strip() or known.other.strip() in tip(word).text
        box = browser.execute_script("return arguments[0].getBoundingClientRect().toJSON()", tip(word))
        assert box["left"] >= 0
        assert box["right"] <= width
        assert box["top"] >= 0
        assert box["bottom"] <= height
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width, "nothing sticks out"
    point_at(browser, words[4])
    assert "The target would have said  quietly" in tip(words[4]).text
    keep_picture(browser, f"explain-{width}x{height}-{scheme}")


def test_words_say_more_when_the_keyboard_reaches_them(browser: Browser, hand_made: Path) -> None:
    words = see(browser, hand_made)
    ActionChains(browser).move_by_offset(0, 0).perform()
    browser.find_element(By.CSS_SELECTOR, "h1").click()  # the pointer is elsewhere
    for word in words:
        ActionChains(browser).send_keys(Keys.TAB).perform()
        assert browser.switch_to.active_element == word
        assert browser.execute_script(SHOWN) == [other == word for other in words]
    point_at(browser, words[0])
    assert browser.execute_script(SHOWN) == [other == words[0] for other in words], "one at a time"


def test_kinds_look_different_and_every_word_can_be_seen(browser: Browser, hand_made: Path) -> None:
    papers = set()
    for scheme in ("light", "dark"):
        words = see(browser, hand_made, scheme=scheme)
        papers.add(browser.find_element(By.CSS_SELECTOR, "body").value_of_css_property("background-color"))
        looks: dict[str, set[tuple[str, str]]] = {}
        for word in words:
            ink = word.find_element(By.CSS_SELECTOR, ".ink")
            assert ink.is_displayed()
            assert ink.size["width"] > 4
            look = (ink.value_of_css_property("background-color"), ink.value_of_css_property("text-decoration-style"))
            looks.setdefault(str(word.get_attribute("data-kind")), set()).add(look)
        assert all(len(look) == 1 for look in looks.values())
        assert len(set.union(*looks.values())) == len(looks) == len(COUNTS)
    assert len(papers) == 2, "dark where that is preferred"
    assert browser.find_elements(By.CSS_SELECTOR, "script") == []
    tops = [word.find_element(By.CSS_SELECTOR, ".ink").location["y"] for word in words]
    assert tops[8] < tops[9], "a line break breaks the line"
