"""Connections that ask for nothing, or for too much before they ask."""

import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn

from rushes.serve import run
from rushes.serve.run import _Protocol, listen


async def app(scope, receive, send):  # type: ignore[no-untyped-def]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(run, "_HEADERS_S", 0.3)
    listening = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        app, http=_Protocol, ws="none", log_config=None, lifespan="off", h11_max_incomplete_event_size=65536
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join(30)


def answers(port: int, sent: bytes) -> bytes:
    """All that comes until the server hangs up."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(sent)
        while piece := client.recv(65536):
            got += piece
    return got


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_whoever_does_not_ask_is_hung_up_on(port: int, sent: bytes) -> None:
    assert answers(port, sent) == b""


@pytest.mark.parametrize("more", [b"", b"GET / HTTP/1.1\r\n"])
def test_also_behind_an_answer(port: int, more: bytes) -> None:
    assert answers(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + more).endswith(b"\r\n\r\nok")


def test_headers_are_bounded(port: int) -> None:
    refused = answers(port, b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 100_000)
    assert refused.startswith(b"HTTP/1.1 400 ")
