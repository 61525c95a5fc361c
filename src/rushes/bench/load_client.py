"""A client of `load.py`: asks, asks on, gives up or talks nonsense, and looks at what comes."""

import asyncio
import json
import random
import re
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import rushes
from rushes.bench.exchange import Exchange, exchange, get, post
from rushes.demo.wording import DESCRIBE_PROMPTS

MODEL = "rushes-demo"
LEAVING, GARBAGE, FOLLOWING = 0.10, 0.05, 0.5
METHODS = ("specvlm", "specvlm", "specvlm", "hippo", "parallelvlm", "sd", "sage", "std", "ar")
QUESTIONS = (*DESCRIBE_PROMPTS[:3], "How many scenes are there?", "What comes first?", "How does the shape move?")
_SECRET = re.compile(
    rb'Traceback|File "|site-packages|/proc/|/tmp/|\.py\b|' + re.escape(str(Path(rushes.__file__).parent).encode())
)


@dataclass(slots=True)
class Tally:
    """What the clients saw.

    Attributes:
        sent: Requests that the server counts: those that are HTTP.
        leaving, garbage: Of these, to be given up at a random moment, and nonsense.
        statuses: Of answers that came, by status.
        left: Given up before the end; others were answered or refused sooner than that.
        wrong: What should not be, in words.
        latency_s, first_s: Of whole answers, and until the first text of streams.
        texts: Digest of a conversation -> what was answered.
    """

    sent: int = 0
    leaving: int = 0
    garbage: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    left: int = 0
    wrong: list[str] = field(default_factory=list)
    latency_s: list[float] = field(default_factory=list)
    first_s: list[float] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)

    def take(self, made: Exchange, expected: Sequence[int], kind: str) -> None:
        """Count one, and hold it against what may come."""
        if made.left:
            self.left += 1
            return
        self.statuses[made.status] += 1
        if not made.whole:
            self.wrong.append(f"{kind}: status {made.status}, and no whole answer")
        elif made.status not in (*expected, 429, 503):
            self.wrong.append(f"{kind}: status {made.status} where {expected} was right: {made.body[:200]!r}")
        elif made.status >= 400:
            self.wrong += [f"{kind}: {words}" for words in refusal_faults(made)]


def refusal_faults(made: Exchange) -> list[str]:
    """What is wrong with a refusal: its form, a header that is missing, a path or a traceback in it."""
    faults = []
    try:
        error = json.loads(made.body)["error"]
        if set(error) != {"message", "type", "param", "code"} or not error["message"]:
            faults.append(f"not OpenAI's error object: {made.body[:200]!r}")
    except (ValueError, TypeError, KeyError):
        faults.append(f"not OpenAI's error object: {made.body[:200]!r}")
    if made.status in (429, 503) and not made.headers.get("retry-after", "").isdigit():
        faults.append(f"{made.status} without Retry-After")
    if _SECRET.search(made.body):
        faults.append(f"says too much: {made.body[:300]!r}")
    return faults


@dataclass(slots=True)
class Client:
    """One of many: asks, asks on, gives up or talks nonsense.

    Args:
        place: The server's host and port.
        videos: data: URLs.
        files: The same as bytes.
        chance: Its own.
    """

    place: tuple[str, int]
    videos: Sequence[str]
    files: Sequence[bytes]
    chance: random.Random
    tally: Tally

    async def run(self, until: float) -> None:
        """Go on until a moment of `time.monotonic`; what was begun is waited for."""
        while time.monotonic() < until:
            await self._conversation(until)

    async def _conversation(self, until: float) -> None:
        """A question about a video, and perhaps others behind it."""
        video = {"type": "video_url", "video_url": {"url": self.chance.choice(self.videos)}}
        question = {"type": "text", "text": self.chance.choice(QUESTIONS)}
        messages: list[dict[str, Any]] = [{"role": "user", "content": [video, question]}]
        for _ in range(4):
            if self.chance.random() < GARBAGE:
                await self._garbage()
            made = await self._ask(messages)
            if made.status != 200 or not made.whole:
                await asyncio.sleep(self.chance.uniform(0.5, 1) * min(5, float(made.headers.get("retry-after", 0))))
                return
            if time.monotonic() > until or self.chance.random() > FOLLOWING:
                return
            messages.append({"role": "assistant", "content": made.text})
            messages.append({"role": "user", "content": self.chance.choice(QUESTIONS)})

    async def _ask(self, messages: list[dict[str, Any]]) -> Exchange:
        stream, leaving = self.chance.random() < 0.5, self.chance.random() < LEAVING
        body = {
            "model": MODEL,
            "messages": messages,
            "max_tokens": self.chance.choice((4, 8, 16, 32, 64)),
            "stream": stream,
            "method": self.chance.choice(METHODS),
        }
        how: dict[str, Any] = {}
        if leaving and stream and self.chance.random() < 0.5:
            how["leave_events"] = self.chance.randrange(1, 12)
        elif leaving:
            how["leave_s"] = self.chance.choice((0.001, 0.05, self.chance.uniform(0.1, 12)))
        self.tally.sent += 1
        self.tally.leaving += leaving
        made = await exchange(self.place, post(json.dumps(body).encode()), **how)
        self.tally.take(made, (200,), f"{body['method']}, stream={stream}")
        if made.status == 200 and made.whole:
            self._compare(messages, int(str(body["max_tokens"])), made)
        return made

    def _compare(self, messages: list[dict[str, Any]], most: int, made: Exchange) -> None:
        """Every method here is lossless: what is asked twice is answered twice alike, cached or not."""
        self.tally.latency_s.append(made.total_s)
        if made.first_s:
            self.tally.first_s.append(made.first_s)
        asked = sha256(f"{json.dumps(messages)} {most}".encode()).hexdigest()
        if self.tally.texts.setdefault(asked, made.text) != made.text:
            self.tally.wrong.append(f"two answers to one question: {self.tally.texts[asked]!r} and {made.text!r}")

    async def _garbage(self) -> None:
        name, sent, expected, counted = self.chance.choice(self._nonsense())
        self.tally.sent += counted
        self.tally.garbage += 1
        leave_s = 0.2 if expected == () else None  # half a body: nobody waits for an answer
        made = await exchange(self.place, sent, leave_s=leave_s)
        if counted:
            self.tally.take(made, expected, name)
        elif made.status not in expected or not made.whole:
            self.tally.wrong.append(f"{name}: status {made.status}")

    def _nonsense(self) -> list[tuple[str, bytes, tuple[int, ...], bool]]:
        """Name, bytes, what may be answered, and whether it is HTTP at all."""
        file = self.chance.choice(self.files)
        good = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}

        def about(data: bytes) -> bytes:
            video = {"type": "video_url", "video_url": {"url": data_url(data)}}
            messages = [{"role": "user", "content": [video, {"type": "text", "text": "What is it?"}]}]
            return post(json.dumps(good | {"messages": messages}).encode())

        def wrong(**fields: Any) -> bytes:
            return post(json.dumps(good | fields).encode())

        return [
            ("truncated JSON", post(json.dumps(good).encode()[:-9]), (400,), True),
            ("invalid UTF-8", post(b'{"model": "\xff\xfe"}'), (400,), True),
            ("no body", post(b""), (400,), True),
            ("another type", wrong(messages=7), (400,), True),
            ("an unknown field", wrong(temprature=0), (400,), True),
            ("another model", wrong(model="gpt"), (404,), True),
            ("a lone surrogate", wrong(messages=[{"role": "user", "content": "\ud800"}]), (400,), True),
            ("too many tokens", wrong(max_tokens=10**12), (400,), True),
            ("far too many frames", wrong(media_io_kwargs={"video": {"num_frames": 10**15}}), (400,), True),
            ("nested deeply", post(b'{"model":' + b"[" * 50_000), (400, 413), True),
            ("plain text", post(json.dumps(good).encode(), "text/plain"), (415,), True),
            ("a body that is far too long", post(b"{}", length=10**11), (413,), True),
            ("the wrong method", get("/v1/chat/completions"), (405,), True),
            ("half a body", post(b'{"model":', length=10_000), (), True),
            ("a video of noise", about(self.chance.randbytes(5000)), (400,), True),
            ("a video's beginning", about(file[: len(file) // 50]), (400,), True),
            ("a video without its end", about(file[: len(file) * 2 // 3]), (200, 400), True),
            ("no HTTP", self.chance.randbytes(40).replace(b"\n", b"") + b"\r\n\r\n", (400,), False),
        ]


def data_url(data: bytes) -> str:
    return "data:video/mp4;base64," + b64encode(data).decode()
