"""What stands before every route keeps the process small, whatever is sent."""

import asyncio
import json
from typing import Any

from rushes.serve.config import Config
from rushes.serve.guard import Guard
from rushes.serve.limits import MIB, Limits
from rushes.serve.metrics import Metrics

CONFIG = Config(limits=Limits(body_bytes=MIB))


class Echo:
    """An application that answers when it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


async def request(guard: Guard, *pieces: bytes, gone: bool = False) -> tuple[int, dict[str, Any]]:
    """The status of an answer and its body."""
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    if gone:
        messages.append({"type": "http.disconnect"})
    else:
        messages[-1]["more_body"] = False
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": [], "state": {}}
    await guard(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_a_body_of_very_many_values_is_refused_before_it_is_parsed() -> None:
    async def run() -> None:
        app = Echo()
        app.go.set()
        guard = Guard(app, CONFIG, Metrics())
        assert (await request(guard, b"[" + b"0," * 50_000 + b"0]"))[0] == 200
        for body in (b"[" + b"0," * 200_000 + b"0]", b"[" * 200_000, b'{"a":' * 200_000):
            status, answer = await request(guard, body)
            assert (status, answer["error"]["code"]) == (413, "body_too_complex")

    asyncio.run(run())


def test_bodies_of_requests_in_flight_are_held_within_a_bound() -> None:
    async def run() -> None:
        app = Echo()
        guard = Guard(app, CONFIG, Metrics())
        body = (b"a" * 2**19, b"b" * 2**19)
        waiting = [asyncio.ensure_future(request(guard, *body)) for _ in range(8)]
        await asyncio.sleep(0)
        status, answer = await request(guard, b"one more")
        assert (status, answer["error"]["code"]) == (429, "too_many_bytes")
        app.go.set()
        assert [status for status, _ in await asyncio.gather(*waiting)] == [200] * 8
        for _ in range(9):
            assert (await request(guard, *body))[0] == 200

    asyncio.run(run())


def test_a_client_that_goes_away_while_it_sends_is_counted_once() -> None:
    async def run() -> None:
        metrics = Metrics()
        assert (await request(Guard(Echo(), CONFIG, metrics), b"{", gone=True))[0] == 499
        text = metrics.text().decode()
        assert "rushes_requests_cancelled_total 1.0" in text
        assert "rushes_requests_refused_total{" not in text

    asyncio.run(run())
