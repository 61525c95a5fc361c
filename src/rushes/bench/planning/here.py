"""This machine, measured in a few seconds: bandwidth, operations and overhead, with all threads and with half."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from rushes.bench.planning.devices import Device, weight_bytes
from rushes.loading import DTYPES

Pick = Callable[[Sequence[float]], float]
ROWS, COLUMNS = 4096, 1024  # an MLP's matrix of the stand-in target
MATRICES = 24  # together far more than a cache holds
MANY = 128  # rows of a pass that arithmetic dominates
PASSES = 12
STEPS = 60
PROMPT = 300  # tokens in the cache of the small pair


def measure(dtype: str, pick: Pick = min) -> Device:
    """Stream matrices that no cache holds past one row and past many, and run the small bundled pair.

    Takes three to six seconds. By default the fastest passes count, so that this is the machine when nothing else runs
    on it.

    Args:
        dtype: Of the weights.
        pick: Which of the times of repeated passes counts; the median is the machine as it is in use.
    """
    width = weight_bytes(dtype)
    weights = [torch.randn(ROWS, COLUMNS, dtype=DTYPES[dtype]) for _ in range(MATRICES)]
    bandwidth, flops = _speeds(weights, pick)
    half_bandwidth, half_flops = _side_by_side(lambda part: _speeds(weights[part::2], pick))
    bandwidth, flops = _between(bandwidth, half_bandwidth), _between(flops, half_flops)
    layer_s, pass_s = _overhead(dtype, half_bandwidth, width, pick)
    memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    half = Device("half of this machine", half_bandwidth, half_flops, memory, layer_s, pass_s, hides=False)
    return Device("this machine", bandwidth, flops, memory, layer_s, pass_s, hides=False, half=half)


def _between(whole: float, half: float) -> float:
    """What all threads reach, no less than half of them, and no more than two halves that work at the same time.

    A neighbour that holds a core spoils the whole, where every thread waits for the slowest, more than the halves.
    """
    return min(max(whole, half), 2 * half)


@torch.inference_mode()
def _speeds(weights: list[Tensor], pick: Pick = min) -> tuple[float, float]:
    """Bytes and operations a second of matrix products."""
    one, many = (torch.randn(rows, COLUMNS, dtype=weights[0].dtype) for rows in (1, MANY))
    # All in turn, so that none is still in a cache.
    traffic_s = sum(_picked_s(PASSES, [partial(nn.functional.linear, one, weight) for weight in weights], pick))
    both_s = sum(_picked_s(PASSES, [partial(nn.functional.linear, many, weight) for weight in weights], pick))
    size = len(weights) * ROWS * COLUMNS
    # A pass over many rows streams the weights once as well; on a CPU the two add up.
    arithmetic_s = max(both_s - traffic_s, 0.05 * both_s)
    return size * weights[0].element_size() / traffic_s, 2 * size * (MANY - 1) / arithmetic_s


def _picked_s(times: int, works: Sequence[Callable[[], Any]], pick: Pick = min) -> list[float]:
    """The fastest run of each (or what else is picked of its times), one after the other, so many times over.

    Whatever else runs here can only slow a run down, and a short one has the best chance to be left alone.
    """
    found: list[list[float]] = [[] for _ in works]
    for _ in range(times + 1):  # the first time round warms up
        for i, work in enumerate(works):
            started = time.perf_counter()
            work()
            found[i].append(time.perf_counter() - started)
    return [pick(some[1:]) for some in found]


def _side_by_side(work: Callable[[int], tuple[float, float]]) -> tuple[float, float]:
    """The mean of what two workers with half the threads each reach at the same time."""
    threads = torch.get_num_threads()
    begin = threading.Barrier(2)
    reached: list[tuple[float, float]] = []

    def worker(part: int) -> None:
        torch.set_num_threads(max(1, threads // 2))
        begin.wait()
        reached.append(work(part))

    both = [threading.Thread(target=worker, args=(part,)) for part in (0, 1)]
    with _threads(threads):
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
    bandwidths, flops = zip(*reached, strict=True)
    return sum(bandwidths) / 2, sum(flops) / 2


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many of torch's threads, and as many as before behind the block.

    The number is a thread's own, but what new threads start with is everybody's, and changes with it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _overhead(dtype: str, bandwidth: float, width: int, pick: Pick = min) -> tuple[float, float]:
    """Seconds of a decoder layer and of the rest of a pass whose matrices cost next to nothing: the bundled pair's, at
    its trained size, on one thread: more have nothing to do there but to wait for each other.
    """
    from rushes.demo import bundled
    from rushes.progress import quiet_libraries

    quiet_libraries()
    with _threads(1):
        (few, short_s), (many, long_s) = sorted(
            _step(name, dtype, bandwidth, width, pick) for name in (bundled.TARGET, bundled.DRAFT)
        )
    layer_s = max(0.0, (long_s - short_s) / (many - few))
    return layer_s, max(0.0, short_s - few * layer_s)


@torch.inference_mode()
def _step(name: str, dtype: str, bandwidth: float, width: int, pick: Pick = min) -> tuple[int, float]:
    """Layers of a model, and the seconds of a pass over one row that are not its weights'."""
    from rushes.loading import load_model
    from rushes.models.registry import adapter_for

    model = load_model(name, "cpu", dtype)
    engine = adapter_for(model.config, name)(model)
    cache = engine.new_cache(PROMPT + 1)
    engine.forward(engine.embed([0] * PROMPT), engine.rows_at(0, list(range(PROMPT)), 3), cache)

    def step() -> None:
        engine.logits(engine.forward(engine.embed([0]), engine.rows_at(PROMPT, [0], 3), cache)).argmax(-1).item()
        cache.roll_back(PROMPT)

    weights = sum(parameter.numel() for parameter in engine.language_model.parameters())
    streamed_s = weights * width / bandwidth
    return engine.text_config.num_hidden_layers, max(0.0, _picked_s(STEPS, [step], pick)[0] - streamed_s)


def busy() -> str | None:
    """In words, that other work on this machine spoils a benchmark; None when it is quiet."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load < 0.5 * cores:
        return None
    return f"This machine was busy (load {load:.1f} on {cores} cores): alone it is faster than what stands here."
