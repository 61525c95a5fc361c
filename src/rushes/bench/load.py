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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from rushes.atomic import whole
from rushes.bench.exchange import exchange, get, loopback
from rushes.bench.load_client import Client, Tally, data_url
from rushes.demo.held_out import held_out_clip, write_clip
from rushes.errors import RushesError

SCENES = (1, 2, 3, 4, 5, 6, 7, 8)  # of the clips
GROWTH = 1.05  # memory after over before
START_S, CALM_S = 120.0, 60.0
IDLE_S = 8.0  # before memory is read, which the server gives back when it rests
# A budget that some clips fill, a queue that not all clients find room in.
SERVER = ("--cache-gib", "0.02", "--video-gib", "0.01", "--queue", "28", "--dtype", "float32")


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
    videos = [data_url(data) for data in files]
    crowd = [Client(server.place, videos, files, random.Random(1000 * seed + i), tally) for i in range(clients)]
    await asyncio.gather(*(client.run(until) for client in crowd))
    return tally


async def measure(
    server: Server, files: Sequence[bytes], clients: int, seconds: float, warm_s: float, idle_s: float
) -> dict[str, Any]:
    """Warm up, press, let it calm down, and compare."""
    warm = await press(server, files, clients, warm_s, 0)
    calm = [await server.calm()]
    await asyncio.sleep(idle_s)
    before, counts = server.memory(), await server.metrics()
    started = time.monotonic()
    tally = await press(server, files, clients, seconds, 1)
    pressed_s, at_once = time.monotonic() - started, server.memory()
    calm.append(await server.calm())
    await asyncio.sleep(idle_s)
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
            "meant_to_be_given_up": tally.leaving,
            "given_up": tally.left,
            "garbage": tally.garbage,
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


def machine() -> dict[str, Any]:
    """Where it ran."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "threads_of_a_model": os.environ.get("OMP_NUM_THREADS", "default"),
        "busy_before": round(psutil.cpu_percent(0.5) / 100, 2),
    }


def run(
    clients: int, seconds: float, warm_s: float, idle_s: float = IDLE_S, options: Sequence[str] = ()
) -> dict[str, Any]:
    """Start a server, press it, stop it.

    Args:
        seconds, warm_s, idle_s: Of load, of load before it, and of rest before memory is read.
        options: More for `rushes serve`.
    """
    with tempfile.TemporaryDirectory() as folder:
        files, where = drawn(Path(folder)), machine()
        server = start(Path(folder) / "log", options)
        try:
            report = asyncio.run(measure(server, files, clients, seconds, warm_s, idle_s))
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
