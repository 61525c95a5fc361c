"""A stream is sent to its end, or let go of as soon as nobody listens."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from rushes.serve.streaming import EventStream


class Source:
    """Numbers, and whether somebody has closed them."""

    def __init__(self, fails: bool = False) -> None:
        self.closed, self.fails = False, fails

    async def numbers(self) -> AsyncGenerator[int]:
        try:
            for number in range(3):
                yield number
                await asyncio.sleep(0)
            if self.fails:
                raise ValueError("no more")
        finally:
            self.closed = True


async def events(numbers: AsyncGenerator[int]) -> AsyncGenerator[bytes]:
    async for number in numbers:
        yield b"%d" % number


async def sent(source: Source, *, leaves: bool = False, stuck: bool = False) -> bytes:
    numbers = source.numbers()
    assert await anext(numbers) == 0
    stream = EventStream(events(numbers), numbers)
    bodies: list[bytes] = []

    async def receive() -> Any:
        if not leaves:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if stuck:
            await asyncio.Event().wait()
        bodies.append(message.get("body", b""))

    await asyncio.wait_for(stream({"type": "http"}, receive, send), 10)
    return b"".join(bodies)


def test_everything_is_sent_and_closed() -> None:
    source = Source()
    assert asyncio.run(sent(source)) == b"12"
    assert source.closed


def test_a_client_that_leaves_before_the_first_event_closes_the_source() -> None:
    source = Source()
    assert asyncio.run(sent(source, leaves=True, stuck=True)) == b""
    assert source.closed


def test_what_goes_wrong_reaches_the_server() -> None:
    source = Source(fails=True)
    with pytest.raises(ValueError, match="no more"):
        asyncio.run(sent(source))
    assert source.closed
