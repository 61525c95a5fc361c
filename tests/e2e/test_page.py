"""The page of `rushes serve`, clicked through against the real server with the bundled pair: its answers."""

import re
from collections import Counter

import pytest
from selenium.webdriver.common.keys import Keys

from rushes.explain import LOSSLESS
from rushes.result import Word
from rushes.window import Mark
from served import DESCRIBE, Page, Server

pytestmark = pytest.mark.xdist_group("page")
# Every length that the answer's text has had while it was written.
WATCH = """window.lengths = new Set(); new MutationObserver(() => {
    const words = document.querySelector("#turns .words"); if (words) lengths.add(words.textContent.length);
}).observe(document.getElementById("turns"), {childList: true, subtree: true})"""


def test_an_answer_streams_in_colours(page: Page, server: Server, demo: bytes) -> None:
    page.take_demo()
    assert "demo.mp4" in page["video-name"].text
    page.until(lambda: page.run("return document.getElementById('player').videoWidth") > 0)
    page.run(WATCH)
    page.ask()
    known = server.ask(demo, DESCRIBE, method="specvlm", keep=0.1, details=True, reuse=False)
    text, facts, words = known["choices"][0]["message"]["content"], known["rushes"], known["rushes"]["words"]
    assert page.answers() == [text]
    assert len(page.run("return [...lengths]")) > 4, "the text grew"
    assert page.cells("kept") == facts["kept_tokens"] == len(facts["kept_indices"])
    assert page.cells("kept") + page.cells("dim") == facts["video_tokens"] == 24 * 3 * 4
    assert f"{facts['kept_tokens']} of {facts['video_tokens']} video tokens" in page["film-about"].text
    kinds = [Word(word["id"], "", Mark(word["how"], word["strict"])).kind for word in words]
    assert page.kinds() == kinds
    shown = {key.get_attribute("data-kind"): int(key.text.split()[-1]) for key in page.all("#legend li")}
    assert shown == {kind: Counter(kinds)[kind] for kind in LOSSLESS}
    assert float(page.fact("accepted")) == pytest.approx(known["metrics"]["accepted_per_round"], abs=0.005)
    bars = [int(str(bar.get_attribute("data-accepted"))) for bar in page.all(".rounds rect")]
    assert sum(bars) == sum(word["by"] == "draft" for word in words)
    assert float(page.fact("speed")) > 0
    assert re.fullmatch(r"\d+\.\d\d s", page.fact("first"))
    assert page.fact("cached") == f"0 of {known['usage']['prompt_tokens']}"
    assert f"{len(words)} tokens, {sum(bars)} of them by the draft" in page.fact("ending")
    spoken = " ".join(line.get_attribute("textContent") for line in page.all("#spoken p"))
    assert spoken.split() == text.split(), "screen readers hear all of it, by sentences"
    assert len(page.all("#spoken p")) < len(text.split(". "))
    assert "one request at a time" in page.all("footer")[0].text
    page.whole_picture("page-light", 1280)
    page.whole_picture("page-dark", 1280, "dark")


def test_a_conversation_goes_on(page: Page, server: Server, demo: bytes) -> None:
    page.take_demo()
    page.ask()
    [first] = page.answers()
    assert page["question-label"].text == "The same question again"
    page["question"].clear()
    page["question"].send_keys("What happens in the first scene?")
    assert page["question-label"].text == "Follow-up question"
    page.ask()
    known = server.ask(demo, DESCRIBE, first, "What happens in the first scene?", method="specvlm", reuse=False)
    assert page.answers() == [known["choices"][0]["message"]["content"]]
    assert len(page.all(".turn")) == 2
    read, prompt = map(int, re.findall(r"Read again: (\d+) of (\d+) tokens were cached", page.fact("ending"))[0])
    assert prompt == known["usage"]["prompt_tokens"]
    assert read > 288, "the video is not read again"
    assert page.fact("cached") == f"{read} of {prompt}"
    second = page.answers()
    page.ask()
    assert page.answers() == second, "the same question takes its place again"
    page["anew"].click()
    assert page.all(".turn") == []
    assert page["question-label"].text == "Question"
    assert not page["anew"].is_displayed()
    page["question"].clear()
    page["question"].send_keys(DESCRIBE)
    page.ask()
    assert page.answers() == [first]


def test_a_race_shows_both_clocks(page: Page) -> None:
    page.take_demo()
    page.choose("ar")
    page.ask("race")
    assert "plain decoding; choose the method" in page["notice-text"].text
    page.choose("specvlm")
    page.ask("race")
    plain, other = page.answers()
    assert plain == other != ""
    assert [name.text for name in page.all(".turn:first-child .name")] == ["ar", "specvlm"]
    speeds = [float(page.fact("speed", lane)) for lane in (0, 1)]
    clocks = [float(page.fact("clock", lane).removesuffix(" s")) for lane in (0, 1)]
    widths = [float(str(page.run("return arguments[0].style.width", bar))[:-1]) for bar in page.all(".bar i")]
    assert max(widths) == pytest.approx(100)
    assert widths[1] / widths[0] == pytest.approx(clocks[1] / clocks[0], rel=0.1)
    ratio = float(re.findall(r"specvlm decodes at ([\d.]+)\S the speed of plain decoding", page.fact("verdict"))[0])
    assert ratio == pytest.approx(speeds[1] / speeds[0], rel=0.02)
    assert f"The answers are identical, all {len(page.kinds())} tokens." in page.fact("verdict")
    assert [page.fact("cached", lane).split()[0] for lane in (0, 1)] == ["0", "0"], "both read everything"
    page.whole_picture("page-race", 1280)


def test_a_race_tells_where_answers_differ(page: Page) -> None:
    """And claims nothing about answers that are not whole."""
    said = """const {verdict} = await import("/page/race.js");
        const made = (id, ids, lossless) => ({words: ids.map((id) => ({id, text: " w" + id})),
            tokensPerSecond: 10 * ids.length, decoding_s: 1, prefill_s: 2, method: {id}, end: {rushes: {lossless}}});
        return verdict(made("ar", arguments[0], true), made("fly", arguments[1], arguments[2])).at(-1)"""
    assert page.run(said, [1, 2, 3], [1, 2, 3], False) == "The answers are identical, all 3 tokens."
    assert "from token 2 on: “w5” here, “w2” with plain decoding. This method is not" in page.run(
        said, [1, 2], [1, 5], False
    )
    assert "from token 2 on: the end here, “w2”" in page.run(said, [1, 2], [1], True)
    assert "from token 2 on: “w2” here, the end with" in page.run(said, [1], [1, 2], True)
    page.take_demo()
    page["race"].click()
    page.until(lambda: len(page.kinds()) > 3)
    page["stop"].click()
    page.until(lambda: page.idle)
    assert page.fact("verdict") == "The race was not finished: nothing was compared."


def test_an_answer_can_be_stopped(page: Page, server: Server) -> None:
    page.take_demo()
    page.choose("ar")
    page["go"].click()
    page.until(lambda: page.all(".turn .word"))
    assert page["go"].get_attribute("aria-disabled") == "true"
    before = len(page.all(".turn"))
    page["go"].click()
    assert len(page.all(".turn")) == before, "one at a time"
    page["stop"].send_keys(Keys.ENTER)
    page.until(lambda: page.idle)
    many = len(page.kinds())
    assert f"Stopped after {many} tokens." in page.fact("ending")
    assert page["state"].text == "Stopped."
    assert not page["stop"].is_displayed()
    assert page.browser.switch_to.active_element == page["question"], "the focus is not lost"
    page.until(lambda: server.metric("rushes_num_requests_running") == 0)
    assert len(page.kinds()) == many < 100
    page["question"].clear()
    page["question"].send_keys("And then?")
    page.ask()
    assert len(page.all(".turn")) == 2, "what was said until then is part of the conversation"
    assert page.answers() != [""]
