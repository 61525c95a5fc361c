"""One server and one browser for all tests of the page."""

from collections.abc import Iterator

import pytest

from chromium import Browser, chromium, emulate, requests
from serve.running import running
from served import KEY, Page, Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running("--queue", "1", "--api-key", KEY) as made:
        yield Server(made.address + "/")


@pytest.fixture(scope="session")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("profile")) as made:
        yield made


@pytest.fixture(scope="session")
def opened(chrome: Browser, server: Server) -> Page:
    return Page(chrome, server)


@pytest.fixture
def page(opened: Page) -> Iterator[Page]:
    """Freshly opened; whatever it did, nothing went wrong unseen and nothing left the host."""
    opened.open()
    yield opened
    emulate(opened.browser, 1280, 900)
    assert opened.browser.get_log("browser") == []
    hosts = ("data:", f"blob:{opened.server.url}", opened.server.url)
    assert [url for url in requests(opened.browser) if not url.startswith(hosts)] == []


@pytest.fixture(scope="session")
def demo(server: Server) -> bytes:
    return server.get("demo.mp4")
