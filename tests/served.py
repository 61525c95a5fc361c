"""A `rushes serve` in a process of its own, and its page in a browser."""

import base64
import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from chromium import Browser, emulate, keep_picture, requests

KEY = "a key for the test"
DESCRIBE = "Describe the video in detail."
WAIT_S = 60


class Server:
    """The real one, in a process of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def open(self, path: str, body: dict[str, Any] | None = None, timeout_s: float = WAIT_S) -> Any:
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        return urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=timeout_s)

    def get(self, path: str) -> bytes:
        with self.open(path) as response:
            return bytes(response.read())

    def ask(self, video: bytes, *said: str, **fields: Any) -> dict[str, Any]:
        """The whole answer to the last of a question, an answer, a question, ..."""
        with self.open("v1/chat/completions", body(video, *said, **fields)) as response:
            return dict(json.load(response))

    def metric(self, name: str) -> float:
        found = re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", self.get("metrics").decode(), re.MULTILINE)
        return sum(map(float, found))


def body(video: bytes, *said: str, **fields: Any) -> dict[str, Any]:
    """A request as another client would write it; what is said comes from the user and the model in turn."""
    url = "data:video/mp4;base64," + base64.b64encode(video).decode()
    film = {"type": "video_url", "video_url": {"url": url}}
    first = {"role": "user", "content": [film, {"type": "text", "text": said[0]}]}
    rest = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(said)][1:]
    return {"model": "rushes-demo", "messages": [first, *rest], "max_tokens": 256, **fields}


class Page:
    """The page in a browser."""

    def __init__(self, browser: Browser, server: Server) -> None:
        self.browser = browser
        self.server = server

    def __getitem__(self, name: str) -> WebElement:
        return self.browser.find_element(By.ID, name)

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def run(self, script: str, *values: Any) -> Any:
        return self.browser.execute_script(script, *values)

    def until(self, met: Callable[[], Any]) -> Any:
        return WebDriverWait(self.browser, WAIT_S, 0.02).until(lambda _: met())

    def open(self, width: int = 1280, height: int = 900, scheme: str = "light", key: str | None = KEY) -> None:
        emulate(self.browser, width, height, scheme)
        self.browser.get(self.server.url)
        if key is not None:
            if self["key-dialog"].is_displayed() or not self.run("return sessionStorage.length"):
                self.until(self["key-dialog"].is_displayed)
                self["key"].send_keys(key, Keys.ENTER)
            self.until(lambda: self["model"].text)
        self.browser.get_log("browser")
        requests(self.browser)

    def take_demo(self) -> None:
        self["demo"].click()
        self.until(lambda: "ready" in self["state"].text)

    def choose(self, name: str) -> None:
        Select(self["method"]).select_by_value(name)

    @property
    def idle(self) -> bool:
        return self["work"].get_attribute("aria-busy") == "false"

    def ask(self, button: str = "go") -> None:
        self[button].click()
        self.until(lambda: self.idle)

    def answers(self) -> list[str]:
        """The texts of the newest turn."""
        return list(
            self.run("return [...document.querySelectorAll('.turn:first-child .words')].map(w => w.textContent)")
        )

    def fact(self, name: str, lane: int = 0) -> str:
        return self.all(f".turn:first-child .{name}")[lane].text

    def kinds(self, lane: int = 0) -> list[str]:
        words = "document.querySelectorAll('.turn:first-child .words')[arguments[0]].children"
        return list(self.run(f"return [...{words}].map(word => word.dataset.kind)", lane))

    def cells(self, name: str) -> int:
        """How many cells are drawn as "kept" or "dim"."""
        return sum(str(path.get_attribute("d")).count("M") for path in self.all(f".frame .{name}"))

    def sticks_out(self) -> bool:
        return bool(self.run("return document.documentElement.scrollWidth > document.documentElement.clientWidth"))

    def whole_picture(self, name: str, width: int, scheme: str = "light") -> None:
        """A screenshot of everything, not just of the window."""
        height = int(self.run("return document.documentElement.scrollHeight"))
        emulate(self.browser, width, height, scheme, "reduce")  # nothing is half way to another colour
        keep_picture(self.browser, name)
        emulate(self.browser, width, 900, scheme)


@contextmanager
def refused_on_purpose(page: Page) -> Iterator[None]:
    """The browser logs every status of 400 and more; inside this block that is all it logs."""
    yield
    logged = [entry["message"] for entry in page.browser.get_log("browser")]
    assert logged
    assert all("Failed to load resource" in message for message in logged)
