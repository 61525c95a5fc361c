"""Many clients for some minutes on one server: is everything answered or refused as it should be, and is nothing left?

    python -m rushes.bench.load --seconds 300 --out results/load.json

Starts `rushes serve` with the bundled pair on a free loopback port. Of the clients' requests one in ten is given up at
a random moment, and one in twenty is garbage. Prints what it found; exit code 1 where a condition does not hold.
"""

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil

import rushes
from rushes.atomic import whole
from rushes.bench.load_client import Exchange, exchange, get, loopback, post
from rushes.demo.held_out import held_out_clip, write_clip
from rushes.demo.wording import DESCRIBE_PROMPTS
from rushes.errors import RushesError

MODEL = "rushes-demo"
LEAVING, GARBAGE, FOLLOWING = 0.10, 0.05, 0.5
METHODS = ("specvlm", "specvlm", "specvlm", "hippo", "parallelvlm", "sd", "sage", "std", "ar")
QUESTIONS = (*DESCRIBE_PROMPTS[:3], "How many scenes are there?", "What comes first?", "How does the shape move?")
SCENES = (1, 2, 3, 4, 5, 6, 7, 8)  # of the clips
GROWTH = 1.05  # memory after over before
START_S, CALM_S = 120.0, 60.0
IDLE_S = 8.0  # before memory is read
# A budget that some clips fill, a queue that not all clients find room in.
SERVER = ("--cache-gib", "0.02", "--video-gib", "0.01", "--queue", "24", "--dtype", "float32")
_SECRET = re.compile(
    rb'Traceback|File "|site-packages|/proc/|/tmp/|\.py\b|' + re.escape(str(Path(rushes.__file__).parent).encode())
)


@dataclass(slots=True)
class Tally:
    """What the clients saw.

    Attributes:
        sent: Requests that the server counts: those that are HTTP.
        statuses: Of answers that came, by status.
        left: Given up before the end.
        wrong: What should not be, in words.
        latency_s, first_s: Of whole answers, and until the first text of streams.
        texts: Digest of a conversation -> what was answered.
    """

    sent: int = 0
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
            if self.chance.random() < GARBAGE:
                await self._garbage()
            else:
                await self._conversation(until)

    async def _conversation(self, until: float) -> None:
        """A question about a video, and perhaps others behind it."""
        video = {"type": "video_url", "video_url": {"url": self.chance.choice(self.videos)}}
        question = {"type": "text", "text": self.chance.choice(QUESTIONS)}
        messages: list[dict[str, Any]] = [{"role": "user", "content": [video, question]}]
        for _ in range(4):
            made = await self._ask(messages)
            if made.status != 200 or not made.whole:
                await asyncio.sleep(self.chance.uniform(0.1, 1) * min(3, float(made.headers.get("retry-after", 0))))
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
            video = {"type": "video_url", "video_url": {"url": _data_url(data)}}
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


@dataclass(slots=True)
class Server:
    """A server of our own, and what it takes.

    Args:
        process: `rushes serve`.
        place: Host and port.
    """

    process: psutil.Popen
    place: tuple[str, int]

    def memory(self) -> dict[str, int]:
        """Bytes that it and what it has started hold: resident, and those of them that are in no file.

        Not its share of what is shared: that grows when somebody else's Python ends.
        """
        rss = anonymous = 0
        for one in [self.process, *self.process.children(recursive=True)]:
            try:
                held = one.memory_info()
            except psutil.Error:
                continue  # a decoder that has ended meanwhile
            rss, anonymous = rss + held.rss, anonymous + held.rss - getattr(held, "shared", 0)
        return {"rss": rss, "anonymous": anonymous}

    async def metrics(self) -> dict[str, float]:
        """/metrics by name, labels summed up."""
        made: dict[str, float] = {}
        answer = await exchange(self.place, get("/metrics"))
        for line in answer.body.decode().splitlines():
            name, _, value = line.rpartition(" ")
            if not line.startswith("#"):
                name = name.partition("{")[0].removeprefix("rushes_")
                made[name] = made.get(name, 0.0) + float(value)
        return made

    async def calm(self) -> bool:
        """Wait until nothing runs, waits or is decoded; False if that takes too long."""
        until = time.monotonic() + CALM_S
        while time.monotonic() < until:
            found = await self.metrics()
            if not found["num_requests_running"] + found["num_requests_waiting"] + len(self.process.children()):
                return True
            await asyncio.sleep(0.2)
        return False


def start(log: Path, options: Sequence[str] = ()) -> Server:
    """`rushes serve` on a free loopback port.

    Raises:
        RushesError: It does not start.
    """
    command = [sys.executable, "-m", "rushes", "serve", "--host", "127.0.0.1", "--port", "0", *SERVER, *options]
    with log.open("wb") as errors:
        process = psutil.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        found = re.search(r"at (http://\S+)", log.read_text())
        if found:
            return Server(process, loopback(found[1]))
        time.sleep(0.1)
    process.kill()
    raise RushesError(f"the server did not start: {log.read_text()[-500:]}")


def drawn(folder: Path) -> list[bytes]:
    """Clips of one to eight scenes, as files."""
    return [write_clip(held_out_clip(n, n, 1.0), folder / f"{n}.mp4").read_bytes() for n in SCENES]


async def press(server: Server, files: Sequence[bytes], clients: int, seconds: float, seed: int) -> Tally:
    """Let many clients at it for some time."""
    tally, until = Tally(), time.monotonic() + seconds
    videos = [_data_url(data) for data in files]
    crowd = [Client(server.place, videos, files, random.Random(1000 * seed + i), tally) for i in range(clients)]
    await asyncio.gather(*(client.run(until) for client in crowd))
    return tally


async def measure(
    server: Server, files: Sequence[bytes], clients: int, seconds: float, warm_s: float
) -> dict[str, Any]:
    """Warm up, press, let it calm down, and compare."""
    warm = await press(server, files, clients, warm_s, 0)
    calm = [await server.calm()]
    await asyncio.sleep(IDLE_S)
    before, counts = server.memory(), await server.metrics()
    started = time.monotonic()
    tally = await press(server, files, clients, seconds, 1)
    pressed_s, at_once = time.monotonic() - started, server.memory()
    calm.append(await server.calm())
    await asyncio.sleep(IDLE_S)
    after, found = server.memory(), await server.metrics()
    alive = await exchange(server.place, get("/health"))
    delta = {name: found[name] - counts.get(name, 0) for name in found}
    report = _report(tally, delta, before, at_once, after)
    report["pressed_s"] = round(pressed_s, 1)
    report["warm_up"] = {"sent": warm.sent, "wrong": len(warm.wrong)}
    tally.wrong += warm.wrong
    report["conditions"] = _conditions(report, tally) | {
        "alive": alive.status == 200 and server.process.poll() is None,
        "calm_afterwards": all(calm),
        "no_decoder_left": not server.process.children(),
    }
    return report


def _report(
    tally: Tally, delta: dict[str, float], before: dict[str, int], at_once: dict[str, int], after: dict[str, int]
) -> dict[str, Any]:
    reused, anew = delta["prefix_cache_hits_total"], delta["prefix_cache_misses_total"]
    known, new = delta["video_cache_hits_total"], delta["video_cache_misses_total"]
    return {
        "requests": {
            "sent": tally.sent,
            "answered": tally.statuses[200],
            "given_up_by_the_client": tally.left,
            "by_status": {str(status): count for status, count in sorted(tally.statuses.items())},
        },
        "counted_by_the_server": {
            "succeeded": int(delta["request_success_total"]),
            "cancelled": int(delta["requests_cancelled_total"]),
            "refused": int(delta.get("requests_refused_total", 0)),
            "prefix_evictions": int(delta["prefix_cache_evictions_total"]),
        },
        "latency_s": _quantiles(tally.latency_s),
        "time_to_first_token_s": _quantiles(tally.first_s),
        "hit_rate": {"prompts": _share(reused, anew), "videos": _share(known, new)},
        "memory_mib": {
            "before": _mib(before),
            "at_the_end_of_the_load": _mib(at_once),
            "after": _mib(after),
            "growth": {name: round(after[name] / before[name], 4) for name in before},
        },
        "wrong": tally.wrong[:20],
    }


def _conditions(report: dict[str, Any], tally: Tally) -> dict[str, bool]:
    """What must hold, each by itself."""
    said, seen = report["counted_by_the_server"], report["requests"]
    refused = sum(count for status, count in tally.statuses.items() if status >= 400)
    slack = tally.left  # nobody knows what the server made of these
    return {
        "every_request_answered_cancelled_or_refused": (
            said["succeeded"] + said["cancelled"] + said["refused"] == tally.sent
        ),
        "answers_as_counted": seen["answered"] <= said["succeeded"] <= seen["answered"] + slack,
        "refusals_as_counted": refused <= said["refused"] <= refused + slack,
        "nothing_wrong": not tally.wrong,
        "something_was_answered": seen["answered"] > 0,
        "memory_within_5_percent": report["memory_mib"]["growth"]["rss"] <= GROWTH,
    }


def _quantiles(values: Sequence[float]) -> dict[str, float]:
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 3), "p95": round(cuts[94], 3), "most": round(max(values), 3)}


def _share(hits: float, misses: float) -> float | None:
    return round(hits / (hits + misses), 4) if hits + misses else None


def _mib(sizes: dict[str, int]) -> dict[str, float]:
    return {name: round(size / 2**20, 1) for name, size in sizes.items()}


def _data_url(data: bytes) -> str:
    return "data:video/mp4;base64," + b64encode(data).decode()


def machine() -> dict[str, Any]:
    """Where it ran."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "threads_of_a_model": os.environ.get("OMP_NUM_THREADS", "default"),
        "busy_before": round(psutil.cpu_percent(0.5) / 100, 2),
    }


def run(clients: int, seconds: float, warm_s: float, options: Sequence[str] = ()) -> dict[str, Any]:
    """Start a server, press it, stop it.

    Args:
        seconds, warm_s: Of load, and of load before memory is read.
        options: More for `rushes serve`.
    """
    with tempfile.TemporaryDirectory() as folder:
        files, where = drawn(Path(folder)), machine()
        server = start(Path(folder) / "log", options)
        try:
            report = asyncio.run(measure(server, files, clients, seconds, warm_s))
            server.process.terminate()
            report["conditions"]["stops_when_told"] = server.process.wait(90) == 0
        finally:
            if server.process.poll() is None:
                server.process.kill()
        report["conditions"]["no_traceback_in_the_log"] = "traceback" not in (Path(folder) / "log").read_text().lower()
    about = "Many clients on one server with the bundled pair at its trained size, over loopback."
    asked = {"clients": clients, "seconds": seconds, "warm_up_s": warm_s, "server": " ".join((*SERVER, *options))}
    return {"about": about, **asked, "machine": where, **report}


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--seconds", type=_bounded(1, 3600), default=300.0)
    parser.add_argument("--warm-up", type=_bounded(0, 3600), default=90.0, help="seconds")
    parser.add_argument("--clients", type=int, choices=range(1, 129), default=32, metavar="1-128")
    asked = parser.parse_args()
    report = run(asked.clients, asked.seconds, asked.warm_up)
    print(json.dumps(report, indent=1))
    if asked.out is not None:
        with whole(asked.out) as path:
            path.write_text(json.dumps(report, indent=1) + "\n")
    failed = [name for name, holds in report["conditions"].items() if not holds]
    if failed:
        sys.exit(f"does not hold: {', '.join(failed)}")


def _bounded(least: float, most: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        if not least <= float(text) <= most:
            raise argparse.ArgumentTypeError(f"must be between {least:g} and {most:g}")
        return float(text)

    return number


if __name__ == "__main__":
    main()
