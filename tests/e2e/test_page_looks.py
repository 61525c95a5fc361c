"""How the page of `rushes serve` looks: colours, cells, what is shown at words, on a phone and in the dark."""

import re
from io import BytesIO

import pytest
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from chromium import emulate
from rushes.explain import LOOSE
from rushes.explain_style import COLOURS
from served import Page

pytestmark = pytest.mark.xdist_group("page")


def test_kept_cells_are_clear_and_the_others_are_not(page: Page) -> None:
    """What the eye sees: the pixels in the middle of each cell, beside those of the frame alone."""
    page.take_demo()
    page.ask()
    page["film"].click()
    frames = page.all(".frame")[:6]
    page.run("arguments[0].scrollIntoView({block: 'center'})", frames[3])
    for i, frame in enumerate(frames):
        covered = pixels(page, frame)
        page.run("arguments[0].style.visibility = 'hidden'", frame.find_element(By.TAG_NAME, "svg"))
        alone = pixels(page, frame)
        path = str(frame.find_element(By.CSS_SELECTOR, ".kept").get_attribute("d"))
        kept = {(int(x), int(y)) for x, y in re.findall(r"M(\d+) (\d+)", path)}
        same = {cell for cell in covered if covered[cell] == alone[cell]}
        assert same == kept, f"frame {i}"


def pixels(page: Page, frame: WebElement) -> dict[tuple[int, int], tuple[int, int, int]]:
    with Image.open(BytesIO(frame.screenshot_as_png)) as picture:
        seen = picture.convert("RGB")
    w, h = seen.size
    middles = {(x, y): (int((x + 0.5) * w / 4), int((y + 0.5) * h / 3)) for x in range(4) for y in range(3)}
    return {cell: seen.getpixel(place) for cell, place in middles.items()}


def test_words_say_more_when_pointed_at(page: Page) -> None:
    page.take_demo()
    page.choose("lvspec")
    page.ask()
    for width in (1280, 360):
        emulate(page.browser, width, 700)
        corrected = page.all('.word[data-kind="correction"] .ink')
        for ink in corrected[:3]:
            page.run("arguments[0].scrollIntoView({block: 'end'})", ink)
            ActionChains(page.browser).move_to_element(ink).perform()
            page.until(page["tip"].is_displayed)
            assert "The draft had said" in page["tip"].text
            assert "Relevance to the video" in page["tip"].text
            bounds = "return [...arguments].map(element => element.getBoundingClientRect().toJSON())"
            box, over = page.run(bounds, page["tip"], ink)
            assert box["left"] >= 0
            assert box["right"] <= width
            assert box["top"] >= 0
            assert box["bottom"] <= 700
            assert box["bottom"] <= over["top"] or box["top"] >= over["bottom"], "the word is not covered"
    ActionChains(page.browser).move_to_element(page["question"]).perform()
    page.until(lambda: not page["tip"].is_displayed())
    last = page.all(".word")[-1]
    page.run("arguments[0].focus(); return new Promise(done => setTimeout(done, 200))", last)
    assert page["tip"].is_displayed(), "also when the focus has moved the page"
    page.run("window.scrollTo(0, 0); return new Promise(done => setTimeout(done, 200))")
    assert not page["tip"].is_displayed(), "but not without its word"


def test_kinds_look_different_and_can_be_read(page: Page) -> None:
    made = """const {element, legend} = await import("/page/words.js");
        document.getElementById("answers").hidden = false;
        const same = {id: 1, text: " word", by: "draft", relevance: null, other: null};
        const words = arguments[0].map(([how, strict]) => ({...same, how, strict}));
        const turn = document.getElementById("turn-template").content.firstElementChild.cloneNode(true);
        turn.append(...words.map((word, i) => element(word, i, false)));
        document.getElementById("turns").replaceChildren(turn);
        legend(document.getElementById("legend"), false, new Map());"""
    hows = [("exact", True), ("exact", False), *((how, True) for how in list(COLOURS)[2:])]
    mixed = """const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
        const over = (...colours) => {
            for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
            return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
        };
        const card = getComputedStyle(document.querySelector(".turn")).backgroundColor;
        return [...document.querySelectorAll(".turn .word")].map((word) => {
            const ink = getComputedStyle(word.querySelector(".ink"));
            const fill = ink.getPropertyValue("--fill").trim();
            return [word.dataset.kind, fill, over(card, ink.backgroundColor), over(ink.color)];
        })"""
    for scheme in ("light", "dark"):
        emulate(page.browser, 1280, 900, scheme)
        page.run(made, hows)
        looks = page.run(mixed)
        assert {kind: fill for kind, fill, _, _ in looks} == {kind: fill for kind, (fill, _) in COLOURS.items()}
        assert len({tuple(paper) for _, _, paper, _ in looks}) == len(COLOURS), "each has a colour of its own"
        for kind, _, paper, ink in looks:
            assert contrast(paper, ink) >= 4.5, (scheme, kind)
        assert [key.find_element(By.CSS_SELECTOR, ".ink").text for key in page.all("#legend li")] == [
            name for name, _ in LOOSE.values()
        ]
        assert [key.get_attribute("title") for key in page.all("#legend li")] == [words for _, words in LOOSE.values()]


def contrast(one: list[int], other: list[int]) -> float:
    """As WCAG 2 defines it."""

    def light(colour: list[int]) -> float:
        parts = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    bright, dim = sorted((light(one), light(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def test_a_phone_in_the_dark_shows_everything(page: Page) -> None:
    emulate(page.browser, 360, 780, "dark", "reduce")
    assert not page.sticks_out()
    page.take_demo()
    page["race"].click()
    page.until(lambda: page.all(".answer[data-running] .word"))
    beats = "return getComputedStyle(document.querySelector('.answer[data-running] .words'), '::after').animationName"
    assert page.run(beats) in ("none", None), "nothing blinks where that is not wanted"
    page.until(lambda: page.idle)
    assert not page.sticks_out()
    lanes = [lane.rect for lane in page.all(".turn .answer")]
    assert lanes[0]["y"] + lanes[0]["height"] <= lanes[1]["y"], "one below the other"
    for control in ("question", "method", "keep", "tokens", "go", "race", "demo"):
        assert page[control].rect["height"] >= 40, "large enough for a thumb"
    paper = page.all("body")[0].value_of_css_property("background-color")
    page.whole_picture("page-phone-dark", 360, "dark")
    emulate(page.browser, 360, 780, "light")
    assert page.all("body")[0].value_of_css_property("background-color") != paper
    page.whole_picture("page-phone", 360)
    assert not page.sticks_out()
