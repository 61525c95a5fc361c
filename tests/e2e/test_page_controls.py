"""The page of `rushes serve`, clicked through: what it is told, and what it tells when something goes wrong."""

import re
import threading
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

from chromium import keep_picture
from rushes.explain import LOOSE
from rushes.methods import METHODS, method
from served import DESCRIBE, KEY, Page, Server, body, refused_on_purpose

pytestmark = pytest.mark.xdist_group("page")


def test_the_key_is_asked_for_and_kept_for_the_tab(opened: Page, server: Server) -> None:
    page = opened
    page.open()
    page.run("sessionStorage.clear()")
    page.open(key=None)
    page.until(page["key-dialog"].is_displayed)
    assert page.browser.switch_to.active_element == page["key"]
    page["key"].send_keys(Keys.ESCAPE)
    page.until(page["notice"].is_displayed)
    assert "key is missing or wrong" in page["notice-text"].text
    page["again"].click()
    page.until(page["key-dialog"].is_displayed)
    assert not page["key-wrong"].is_displayed()
    page["key"].send_keys("another", Keys.ENTER)
    page.until(page["key-wrong"].is_displayed)
    page["key"].send_keys(KEY, Keys.ENTER)
    page.until(lambda: page["model"].text == "rushes-demo")
    assert not page["notice"].is_displayed()
    page.open(key=None)
    page.until(lambda: page["model"].text == "rushes-demo")
    assert not page["key-dialog"].is_displayed()
    assert KEY not in page.run("return JSON.stringify(localStorage) + document.cookie + location")


def test_files_are_chosen_or_dropped(page: Page, server: Server, video: Path) -> None:
    page.ask()
    assert "no video yet" in page["notice-text"].text
    page["file"].send_keys(str(video))
    page.until(lambda: "ready" in page["state"].text)
    assert not page["notice"].is_displayed()
    assert "red.mp4" in page["video-name"].text
    page.ask()
    known = server.ask(video.read_bytes(), DESCRIBE, method="specvlm", details=True, reuse=False)
    assert page.answers() == [known["choices"][0]["message"]["content"]]
    assert page.cells("kept") == known["rushes"]["kept_tokens"]
    drop = """const files = new DataTransfer(); files.items.add(new File(["text"], arguments[0], {type: arguments[1]}));
        const at = document.querySelector("main");
        at.dispatchEvent(new DragEvent("dragover", {dataTransfer: files, bubbles: true, cancelable: true}));
        const lit = document.body.classList.contains("dragging");
        at.dispatchEvent(new DragEvent("drop", {dataTransfer: files, bubbles: true, cancelable: true})); return lit"""
    assert page.run(drop, "words.txt", "text/plain")
    assert "no video: words.txt (text/plain)" in page["notice-text"].text
    assert "red.mp4" in page["video-name"].text
    page.run(drop, "dropped.mp4", "video/mp4")
    assert "dropped.mp4" in page["video-name"].text
    assert page.all(".turn") == [], "another video is another conversation"
    with refused_on_purpose(page):
        page.ask()
        page.until(lambda: not page["player"].is_displayed())
    assert "not a video" in page["notice-text"].text
    assert not page["again"].is_displayed()
    assert page.all(".turn") == []
    assert page["question"].get_attribute("value") == DESCRIBE, "nothing has to be typed again"


def test_methods_can_be_switched(page: Page) -> None:
    listed = [option.get_attribute("value") for option in Select(page["method"]).options]
    assert sorted(map(str, listed)) == sorted(METHODS)
    for name, (_, words) in METHODS.items():
        page.choose(name)
        assert page["description"].text == words
        assert page["lossless"].text == ("lossless" if method(name).lossless else "not lossless")
        assert page["keep"].is_enabled() == (name not in ("ar", "sd"))
    page.take_demo()
    page.choose("ar")
    page.ask()
    assert set(page.kinds()) == {"target"}
    assert page.fact("accepted") == "\N{EN DASH}"
    assert page.cells("kept") == page.cells("dim") == 0
    assert "no draft" in page["film-about"].text
    page.choose("lvspec")
    page.run("const k = arguments[0]; k.value = 50; k.dispatchEvent(new Event('input'))", page["keep"])
    assert page["keep-value"].text == "50 %"
    page.ask()
    assert page.cells("kept") == 144
    assert [key.get_attribute("data-kind") for key in page.all("#legend li")] == list(LOOSE)
    assert {"anchor", "exempt", "correction"} <= set(page.kinds())
    page["tokens"].clear()
    page["tokens"].send_keys("5")
    page.ask()
    assert len(page.kinds()) == 5
    assert "the length limit ended it" in page.fact("ending")
    page["tokens"].clear()
    page["tokens"].send_keys("0")
    page.ask()
    assert "whole number from 1" in page["notice-text"].text
    page["tokens"].clear()
    page["tokens"].send_keys("100000")
    with refused_on_purpose(page):
        page.ask()
    assert "max_tokens is 100000, the limit is 4096" in page["notice-text"].text.lower()


def test_a_full_queue_is_waited_for(page: Page, server: Server, demo: bytes) -> None:
    page.take_demo()
    held: list[Any] = []

    def hold() -> None:
        held.append(server.open("v1/chat/completions", body(demo, DESCRIBE, method="ar", stream=True, reuse=False)))

    holders = [threading.Thread(target=hold) for _ in range(2)]
    for holder in holders:
        holder.start()
    page.until(lambda: server.metric("rushes_num_requests_waiting") == 1)
    with refused_on_purpose(page):
        page.ask()
    assert "try again later" in page["notice-text"].text
    assert re.fullmatch(r"Try again in \d+ s", page["again"].text)
    assert page["again"].get_attribute("aria-disabled") == "true"
    keep_picture(page.browser, "page-busy")
    for holder in holders:
        holder.join()
    for response in held:
        response.read()
    page.until(lambda: page["again"].text == "Try again")
    page["again"].click()
    page.until(lambda: page.idle and page.answers() and page.fact("ending"))
    assert not page["notice"].is_displayed()


def test_errors_in_the_middle_and_broken_streams_are_told(page: Page, server: Server) -> None:
    """A server that breaks off, which the real one does not do when asked to."""
    stub = """const real = window.fetch; window.fetch = async (path, options) => {
        if (path !== "v1/chat/completions") return real(path, options);
        window.fetch = real;
        const words = [{id: 7, text: "One", by: "target", how: "target", strict: true, relevance: null, other: null}];
        const chunk = {choices: [{index: 0, delta: {content: "One"}, finish_reason: null}], rushes: {words}};
        const last = arguments[0] ? [`data: ${JSON.stringify(arguments[0])}\\n\\n`, "data: [DONE]\\n\\n"] : [];
        return new Response([`data: ${JSON.stringify(chunk)}\\n\\n`, ...last].join(""), {status: 200});
    }"""
    page.take_demo()
    page.run(stub, {"error": {"message": "the request took too long", "code": "deadline_exceeded"}})
    page.ask()
    assert page["notice-text"].text == "The request took too long."
    assert page.fact("ending") == "Broken off after 1 tokens."
    page.run(stub, None)
    page.ask()
    assert "broke off in the middle" in page["notice-text"].text
    page.run("window.fetch = async () => { throw new TypeError('Failed to fetch') }")
    page.ask()
    assert "cannot be reached" in page["notice-text"].text
    assert page["question-label"].text == "Question", "what broke off is no part of the conversation"


def test_the_keyboard_is_enough(page: Page) -> None:
    def press(*keys: str, held: str | None = None) -> WebElement:
        chain = ActionChains(page.browser)
        chain = chain.send_keys(*keys) if held is None else chain.key_down(held).send_keys(*keys).key_up(held)
        chain.perform()
        return page.browser.switch_to.active_element

    def tab_to(name: str) -> WebElement:
        for _ in range(20):
            element = press(Keys.TAB)
            seen = page.run(
                "const s = getComputedStyle(arguments[0].closest('.button') ?? arguments[0]);"
                "return s.outlineStyle != 'none' || s.boxShadow != 'none'",
                element,
            )
            assert seen or element.tag_name == "video", "the focus can be seen"
            if element.get_attribute("id") == name:
                return element
        raise AssertionError(f"{name} is not reached")

    skip = press(Keys.TAB)
    assert skip.text == "Skip to the question"
    tab_to("demo")
    press(Keys.ENTER)
    page.until(lambda: "ready" in page["state"].text)
    question = tab_to("question")
    press("a", held=Keys.CONTROL)
    press("Describe the video")
    press(Keys.ENTER, held=Keys.SHIFT)
    assert question.get_attribute("value") == "Describe the video\n"
    press(Keys.BACKSPACE, " in detail.")
    tab_to("method")
    press("lv")
    assert page["method"].get_attribute("value") == "lvspec"
    tab_to("keep")
    press(Keys.ARROW_RIGHT)
    assert page["keep-value"].text == "11 %"
    tab_to("go")
    press(Keys.ENTER)
    page.until(lambda: page.idle and page.fact("ending"))
    assert page.browser.switch_to.active_element == page["go"]
    tab_to("anew")
    word = press(Keys.TAB)
    words = page.all(".word")
    assert word == words[0]
    assert page["tip"].is_displayed()
    for expected in words[1:6]:
        word = press(Keys.ARROW_RIGHT)
        assert word == expected
        assert word.get_attribute("aria-describedby") == "tip"
        name = LOOSE[str(word.get_attribute("data-kind"))][0]
        assert page["tip"].text.startswith(name)
    assert press(Keys.ARROW_LEFT) == words[4]
    assert press(Keys.END) == words[-1]
    assert press(Keys.HOME) == words[0]
    press(Keys.ESCAPE)
    assert not page["tip"].is_displayed()
    assert press(Keys.TAB).tag_name == "summary", "an answer is one stop, however long"
    press(Keys.ENTER)
    assert page.all(".notes li")[0].is_displayed()
