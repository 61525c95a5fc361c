"""What it is worth to keep what was read: the first question about a video, and those that follow.

    python -m rushes.bench.follow_up --out results/follow_up.json

Everything of a request but HTTP: a decoding process, the processor, vision, both prefills. Each video is new to the
server when its first question comes. The answers are compared with those of requests that reuse nothing.
"""

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from rushes._transformers import transformers
from rushes.atomic import whole
from rushes.bench.planning import here
from rushes.demo import bundled
from rushes.demo.held_out import held_out_clip, write_clip
from rushes.pair import Pair
from rushes.serve.backend import LocalBackend
from rushes.serve.config import Config
from rushes.serve.job import Done, Job, Piece, Said
from rushes.serve.media import Medium
from rushes.serve.metrics import Metrics
from rushes.settings import Settings

FIRST, SECOND, OTHER = "Describe the video in detail.", "What comes first?", "How many scenes are there?"
SCENES, SECONDS = 6, 2.0
Answer = tuple[str, float, int]  # text, seconds to the first token, cached tokens


async def answered(backend: LocalBackend, turns: Sequence[Said], method: str, reuse: bool) -> Answer:
    """Ask once."""
    job = Job("bench", tuple(turns), Settings(method=method, max_new_tokens=64), reuse=reuse)
    started, first_s, text, cached = time.perf_counter(), 0.0, "", 0
    async for message in backend.answer(job):
        if isinstance(message, Piece):
            first_s = first_s or time.perf_counter() - started
            text += message.text
        if isinstance(message, Done):
            cached = message.cached_tokens
    return text, first_s, cached


async def measure(pair: Pair, videos: Sequence[bytes], method: str) -> list[dict[str, Any]]:
    """One row for each video; the first one warms up and does not count."""
    config = Config()
    backend = LocalBackend([pair], config, Metrics())
    rows = []
    for data in videos:
        medium = Medium("video", data, sha256(data).hexdigest())
        opening = [Said("user", (medium, FIRST))]
        first = await answered(backend, opening, method, reuse=True)
        following = [*opening, Said("assistant", (first[0],)), Said("user", (SECOND,))]
        second = await answered(backend, following, method, reuse=True)
        other = await answered(backend, [Said("user", (medium, OTHER))], method, reuse=True)
        anew = [
            await answered(backend, turns, method, reuse=False)
            for turns in (following, [Said("user", (medium, OTHER))])
        ]
        rows.append(
            {
                "first_s": first[1],
                "follow_up_s": second[1],
                "other_question_s": other[1],
                "follow_up_anew_s": anew[0][1],
                "cached_tokens": [second[2], other[2]],
                "identical": [second[0] == anew[0][0], other[0] == anew[1][0]],
            }
        )
    await backend.close()
    return rows[1:]


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Ratios of the first question's time to first token to that of the others, video by video."""

    def ratio(name: str) -> dict[str, float]:
        values = sorted(row["first_s"] / row[name] for row in rows)
        return {"median": statistics.median(values), "least": values[0], "most": values[-1]}

    return {
        "first_over_follow_up": ratio("follow_up_s"),
        "first_over_other_question": ratio("other_question_s"),
        "first_s": statistics.median(row["first_s"] for row in rows),
        "follow_up_s": statistics.median(row["follow_up_s"] for row in rows),
        "identical": sum(sum(row["identical"]) for row in rows) / (2 * len(rows)),
    }


def table(report: dict[str, Any]) -> list[str]:
    """The README's lines."""
    lines = ["| pair, method | a follow-up | another question | same answers |", "|---|---|---|---|"]
    for name, made in report["found"].items():
        turn, other = (
            f"{made[key]['median']:.1f}x [{made[key]['least']:.1f}, {made[key]['most']:.1f}]"
            for key in ("first_over_follow_up", "first_over_other_question")
        )
        lines.append(f"| {name} | {turn} | {other} | {made['identical']:.0%} |")
    return lines


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/follow_up.json"))
    parser.add_argument("--videos", type=int, default=8)
    asked = parser.parse_args()
    busy = here.busy()
    with tempfile.TemporaryDirectory() as folder:
        clips = [held_out_clip(number, SCENES, SECONDS) for number in range(asked.videos + 1)]
        videos = [write_clip(clip, Path(folder) / f"{i}.mp4").read_bytes() for i, clip in enumerate(clips)]
    found: dict[str, Any] = {}
    for name, make in (("stand-ins, bf16", bundled.standins), ("as trained, fp32", bundled.pair)):
        pair = make()
        for method in ("specvlm", "hippo"):
            rows = asyncio.run(measure(pair, videos, method))
            found[f"{name}, {method}"] = {**summary(rows), "rows": rows}
        del pair
    report = {
        "about": "Seconds from a request to its first token: the first question about a video and later ones.",
        "videos": asked.videos,
        "cores": os.cpu_count(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "busy": busy,
        "found": found,
    }
    with whole(asked.out) as path:
        path.write_text(json.dumps(report, indent=1) + "\n")
    print("\n".join(table(report)))


if __name__ == "__main__":
    main()
