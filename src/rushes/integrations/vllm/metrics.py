"""What the drafter counts, from the process that drafts to the one that answers `/metrics`.

vLLM's workers and its server are different processes. The drafter writes its numbers to a small file that is mapped
into memory; the first process of an engine names the folder in its environment, which its children inherit, and adds a
collector to prometheus that sums up the files it finds there.
"""

import atexit
import mmap
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4
from weakref import finalize

FOLDER = "RUSHES_VLLM_METRICS"  # environment variable
REASONS = ("memory", "prompt", "error")
COUNTERS = {
    "draft_seconds": "Time spent on drafting: prompts of the draft, and its steps.",
    "draft_prompts": "Requests that the draft has read; one that comes back after preemption is read again.",
    "video_tokens": "Video tokens in the prompts that the draft has read.",
    "kept_video_tokens": "Of these, the ones that the draft was given.",
    "vision_runs": "Videos and images that the draft's vision tower looked at.",
    "vision_reused": "Videos and images whose features were still there.",
}
GAUGES = {
    "live_drafts": "Requests that the draft holds a cache for.",
    "draft_bytes": "Memory of the draft: weights, caches and kept features.",
}
SKIPPED = "Requests that go on without drafting, by reason."
_NUMBERS = [*COUNTERS, *GAUGES, *(f"skipped {reason}" for reason in REASONS)]
_AT = {name: 8 * i for i, name in enumerate(_NUMBERS)}


def name_folder() -> None:
    """Decide, in the first process, where boards are; children inherit it. Nothing is made before it is needed."""
    if FOLDER not in os.environ:
        os.environ[FOLDER] = str(Path(tempfile.gettempdir()) / f"rushes-vllm-{uuid4().hex}")
        # vLLM kills workers that do not end soon enough: what they leave goes with the first process.
        atexit.register(shutil.rmtree, os.environ[FOLDER], ignore_errors=True)


class Board:
    """The numbers of one drafter, for other processes to read."""

    def __init__(self) -> None:
        folder = Path(os.environ.get(FOLDER) or tempfile.mkdtemp(prefix="rushes-vllm-"))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / uuid4().hex
        path.write_bytes(bytes(8 * len(_NUMBERS)))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._here = dict.fromkeys(_NUMBERS, 0.0)
        self._remove = finalize(self, _take_away, self._map, path)  # also where a process just ends

    def add(self, name: str, amount: float = 1) -> None:
        self.set(name, self._here[name] + amount)

    def set(self, name: str, value: float) -> None:
        self._here[name] = value
        if self._remove.alive:
            struct.pack_into("d", self._map, _AT[name], value)

    def __getitem__(self, name: str) -> float:
        return self._here[name]

    def close(self) -> None:
        """Take the file away, and the folder with the last one."""
        self._remove()


def _take_away(mapped: mmap.mmap, path: Path) -> None:
    mapped.close()
    path.unlink(missing_ok=True)
    with suppress(OSError):  # other drafters' boards are in it
        path.parent.rmdir()


def read() -> dict[str, float]:
    """The sums over all boards of this engine's processes."""
    total = dict.fromkeys(_NUMBERS, 0.0)
    folder = os.environ.get(FOLDER)
    for path in Path(folder).glob("*") if folder else ():
        try:
            numbers = struct.unpack(f"{len(_NUMBERS)}d", path.read_bytes())
        except (OSError, struct.error):
            continue  # its drafter has just stopped
        for name, number in zip(_NUMBERS, numbers, strict=True):
            total[name] += number
    return total


class Collector:
    """What prometheus asks whenever somebody asks for metrics."""

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        numbers = read()
        for name, text in COUNTERS.items():
            yield CounterMetricFamily(f"rushes:{name}", text, value=numbers[name])
        for name, text in GAUGES.items():
            yield GaugeMetricFamily(f"rushes:{name}", text, value=numbers[name])
        skipped = CounterMetricFamily("rushes:skipped_requests", SKIPPED, labels=["reason"])
        for reason in REASONS:
            skipped.add_metric([reason], numbers[f"skipped {reason}"])
        yield skipped


def publish() -> None:
    """Add the collector to prometheus, once."""
    from prometheus_client import REGISTRY

    if "rushes:live_drafts" not in REGISTRY._names_to_collectors:
        REGISTRY.register(Collector())
