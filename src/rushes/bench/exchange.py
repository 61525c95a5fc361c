"""One request of HTTP/1.1 and what comes of it.

Every request has a connection of its own, of which every moment is known, and which may be given up at any.
"""

import asyncio
import ipaddress
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from rushes.errors import RushesError

ANSWER_S = 330.0  # a little more than the server's own deadline


@dataclass(slots=True)
class Exchange:
    """What became of a request.

    Attributes:
        status: 0 where none came.
        headers: Names in small letters.
        body: Of an answer that is no stream.
        events: Of a stream, without its last mark.
        left: The client went away before the end.
        whole: Everything came that the answer promised.
        first_s, total_s: Until the first text of a stream, and until the end.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    events: list[Any] = field(default_factory=list)
    left: bool = False
    whole: bool = False
    first_s: float = 0.0
    total_s: float = 0.0

    @property
    def text(self) -> str:
        """What was answered."""
        if self.events:
            return "".join(c["delta"].get("content", "") for event in self.events for c in event.get("choices", ()))
        return str(json.loads(self.body)["choices"][0]["message"]["content"])


def loopback(address: str) -> tuple[str, int]:
    """Host and port of an address on this machine.

    Raises:
        RushesError: It is elsewhere: strangers' servers are not put under load.
    """
    parts = urlsplit(address)
    try:
        here = parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        here = False
    if not here or parts.hostname is None or parts.port is None:
        raise RushesError(f"{address} is not a loopback address with a port; this puts load on nothing else")
    return parts.hostname, parts.port


def post(body: bytes, kind: str = "application/json", length: int | None = None) -> bytes:
    """A chat completion request as it goes over the wire."""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


def get(path: str) -> bytes:
    """The same of a page."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()


async def exchange(
    place: tuple[str, int], sent: bytes, *, leave_s: float | None = None, leave_events: int | None = None
) -> Exchange:
    """Send something and take what comes.

    Args:
        place: As `loopback` returns it.
        leave_s: Seconds after which the client goes away.
        leave_events: Events of a stream after which it does.
    """
    made, started = Exchange(), time.monotonic()
    reader, writer = await asyncio.open_connection(*place)
    try:
        async with asyncio.timeout(ANSWER_S if leave_s is None else leave_s):
            writer.write(sent)
            await writer.drain()
            await _receive(reader, made, started, leave_events)
    except TimeoutError:
        made.left = leave_s is not None
    except (OSError, asyncio.IncompleteReadError, ValueError):
        made.whole = False  # the server hung up in the middle, or sent what is no HTTP
    finally:
        made.total_s = time.monotonic() - started
        writer.transport.abort()
    return made


async def _receive(reader: asyncio.StreamReader, made: Exchange, started: float, leave_events: int | None) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    while head[0].split(" ")[1] == "100":
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    made.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
    made.status = int(head[0].split(" ")[1])
    if "text/event-stream" not in made.headers.get("content-type", ""):
        made.body = b"".join([piece async for piece in _pieces(reader, made.headers)])
        made.whole = True
        return
    rest = b""
    async for piece in _pieces(reader, made.headers):
        *events, rest = (rest + piece).split(b"\n\n")
        for event in events:
            if event == b"data: [DONE]":
                made.whole = True
                continue
            made.events.append(json.loads(event.removeprefix(b"data: ")))
            if not made.first_s and any(c["delta"].get("content") for c in made.events[-1].get("choices", ())):
                made.first_s = time.monotonic() - started
        if leave_events is not None and len(made.events) >= leave_events and not made.whole:
            made.left = True
            return


async def _pieces(reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
    """The body, as it comes."""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            yield (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    elif "content-length" in headers:
        yield await reader.readexactly(int(headers["content-length"]))
    else:
        yield await reader.read()
