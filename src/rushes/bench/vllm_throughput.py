"""What drafting buys inside vLLM: `python -m rushes.bench.vllm_throughput --out results/vllm.json`.

The stand-in pair, four requests about different videos at a time, three engines in processes of their own that take
turns round by round: vLLM alone, with all requests drafted together, and with one drafted after the other. Every round
asks about videos that no engine has seen, and every answer is as long as it may be, so that all do the same work.
"""

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from rushes.atomic import whole
from rushes.bench.intervals import interval
from rushes.bench.standin import DEMO_SHAPES, standin_config, widen
from rushes.demo import bundled
from rushes.demo.held_out import DEMO_SCENES, DEMO_SECONDS, held_out_clip
from rushes.demo.scenes import render
from rushes.loading import load_model, load_processor
from rushes.prompting import DEFAULT_PROMPT

WAYS = ("vllm", "together", "one by one")
REQUESTS, NEW_TOKENS, GAMMA, FPS = 4, 120, 5, 4.0
WARM_UP = 1_000  # held-out videos from here on are for warming up
SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
VIDEO, END = "<|vision_start|><|video_pad|><|vision_end|>", "<|im_end|>\n<|im_start|>assistant\n"
PROMPT = f"{SYSTEM}{VIDEO}{DEFAULT_PROMPT}{END}"


def save_standins(folder: Path, dtype: torch.dtype) -> dict[str, str]:
    """The stand-in pair as checkpoint folders. Without the padding of the vocabulary, which vLLM would not cut off."""
    made = {}
    for role, name in (("target", bundled.TARGET), ("draft", bundled.DRAFT)):
        small = load_model(name, "cpu", "float32")
        shape = replace(DEMO_SHAPES[role], vocab_size=small.config.get_text_config().vocab_size)
        big = widen(small, standin_config(small, shape), dtype=dtype)
        made[role] = str(folder / role)
        big.save_pretrained(made[role])
        load_processor(name).save_pretrained(made[role])
    return made


def clip(number: int, scenes: int = DEMO_SCENES) -> tuple[np.ndarray, dict[str, Any]]:
    """A held-out video as vLLM takes it: (T, H, W, 3) frames and what they are."""
    frames = render(held_out_clip(number, scenes, DEMO_SECONDS), FPS, 84, 112)[0]
    about = {
        "fps": FPS,
        "duration": len(frames) / FPS,
        "total_num_frames": len(frames),
        "frames_indices": list(range(len(frames))),
        "video_backend": "opencv",
        "do_sample_frames": False,
    }
    return frames, about


def request(number: int) -> dict[str, Any]:
    """A question about a held-out video."""
    return {"prompt": PROMPT, "multi_modal_data": {"video": [clip(number)]}}


def options(way: str, folders: dict[str, str], dtype: str) -> dict[str, Any]:
    """What an engine is started with."""
    made: dict[str, Any] = {
        "model": folders["target"],
        "dtype": dtype,
        "enforce_eager": True,
        "max_model_len": 1024,
        "max_num_seqs": REQUESTS,
        "enable_prefix_caching": False,
        "limit_mm_per_prompt": {"video": 1, "image": 0},
        "disable_log_stats": False,
    }
    if way != "vllm":
        made["speculative_config"] = {
            "method": "custom_class",
            "model": "rushes.integrations.vllm.VideoDrafter",
            "num_speculative_tokens": GAMMA,
        }
        rows = {"rows_at_once": 1} if way == "one by one" else {}
        made["additional_config"] = {"rushes": {"draft": folders["draft"], **rows}}
    return made


def serve(pipe: Any, given: dict[str, Any]) -> None:
    """One engine: answers to lists of videos until None comes."""
    from vllm import LLM

    llm = LLM(**given)
    pipe.send("ready")
    try:
        while (numbers := pipe.recv()) is not None:
            pipe.send(answer(llm, numbers))
    finally:
        llm.llm_engine.engine_core.shutdown()  # a process that was spawned leaves nothing to its end


def answer(llm: Any, numbers: list[int]) -> dict[str, Any]:
    """One round of one engine."""
    from vllm import SamplingParams

    from rushes.integrations.vllm import metrics

    how = SamplingParams(temperature=0, max_tokens=NEW_TOKENS, ignore_eos=True)
    asked = [request(number) for number in numbers]
    before, started = metrics.read()["draft_seconds"], perf_counter()
    found = llm.generate(asked, how, use_tqdm=False)
    seconds = perf_counter() - started
    counts = {metric.name: getattr(metric, "value", 0) for metric in llm.get_metrics()}
    return {
        "seconds": seconds,
        "draft_seconds": metrics.read()["draft_seconds"] - before,
        "tokens": [list(one.outputs[0].token_ids) for one in found],
        "windows": counts.get("vllm:spec_decode_num_drafts", 0),
        "accepted": counts.get("vllm:spec_decode_num_accepted_tokens", 0),
    }


def measure(rounds: int, dtype: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Rounds of all three ways in turn, each round in another order."""
    os.environ.update(
        HF_HUB_OFFLINE="1",
        OMP_NUM_THREADS="1",  # a second thread waits for the first wherever something else runs on its core
        TORCHDYNAMO_DISABLE="1",
        VLLM_CPU_KVCACHE_SPACE="1",
        VLLM_ENABLE_V1_MULTIPROCESSING="0",
        VLLM_LOGGING_LEVEL="ERROR",
        VLLM_NO_USAGE_STATS="1",
        VLLM_CPU_OMP_THREADS_BIND="nobind",
    )
    start = multiprocessing.get_context("spawn")
    engines: dict[str, Any] = {}
    processes = []
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        folders = save_standins(Path(folder), getattr(torch, dtype))
        try:
            for way in WAYS:
                engines[way], theirs = start.Pipe()
                process = start.Process(target=serve, args=(theirs, options(way, folders, dtype)))
                process.start()
                processes.append(process)
                engines[way].recv()
                engines[way].send([WARM_UP + i for i in range(REQUESTS)])
                engines[way].recv()
                say(f"{way}: ready")
            for number in range(rounds):
                order = WAYS[number % len(WAYS) :] + WAYS[: number % len(WAYS)]
                for way in order:
                    engines[way].send([REQUESTS * number + i for i in range(REQUESTS)])
                    found[way].append(engines[way].recv())
                    say(f"round {number}, {way}: {found[way][-1]['seconds']:.2f} s")
        finally:
            for engine in engines.values():
                with suppress(OSError):
                    engine.send(None)
            for process in processes:
                process.join(30)
    return report(found, rounds, dtype)


def report(found: dict[str, list[dict[str, Any]]], rounds: int, dtype: str) -> dict[str, Any]:
    """Throughputs and the ratios of each round, with their medians and the 95 % intervals of the mean."""
    tokens = REQUESTS * NEW_TOKENS

    def ratios(above: str, below: str, name: str) -> dict[str, Any]:
        values = [a[name] / b[name] for a, b in zip(found[above], found[below], strict=True)]
        return {"median": statistics.median(values), "interval_95": interval(values), "by_round": values}

    last, first = found["together"][-1], found["together"][0]  # vLLM counts from its start on
    windows = last["windows"] - first["windows"]
    pairs = [
        (mine, plain)
        for ours, theirs in zip(found["together"], found["vllm"], strict=True)
        for mine, plain in zip(ours["tokens"], theirs["tokens"], strict=True)
    ]
    return {
        "requests": REQUESTS,
        "new_tokens": NEW_TOKENS,
        "gamma": GAMMA,
        "rounds": rounds,
        "dtype": dtype,
        "cores": os.cpu_count(),
        "threads": 1,
        "machine": platform.processor() or platform.machine(),
        "tokens_per_second": {
            way: {
                "median": statistics.median(tokens / one["seconds"] for one in runs),
                "by_round": [tokens / one["seconds"] for one in runs],
            }
            for way, runs in found.items()
        },
        "throughput_over_vllm": {way: ratios("vllm", way, "seconds") for way in WAYS[1:]},
        "throughput_together_over_one_by_one": ratios("one by one", "together", "seconds"),
        "drafting_together_over_one_by_one": ratios("one by one", "together", "draft_seconds"),
        "draft_share_of_time": statistics.median(one["draft_seconds"] / one["seconds"] for one in found["together"]),
        "accepted_per_round": (last["accepted"] - first["accepted"]) / windows if windows else None,
        "identical_answers": {"answers": sum(mine == plain for mine, plain in pairs), "of": len(pairs)},
    }


def table(made: dict[str, Any]) -> list[str]:
    """The report as lines of Markdown."""

    def ratio(found: dict[str, Any]) -> str:
        low, high = found["interval_95"]
        return f"{found['median']:.2f}x [{low:.2f}, {high:.2f}]"

    lines = ["| way | tokens/s | over vLLM alone |", "|---|---|---|"]
    names = {"vllm": "vLLM alone", "together": "drafted together", "one by one": "drafted one by one"}
    for way, name in names.items():
        over = made["throughput_over_vllm"].get(way)
        speed = made["tokens_per_second"][way]["median"]
        lines.append(f"| {name} | {speed:.1f} | {ratio(over) if over else '1'} |")
    both = (made["throughput_together_over_one_by_one"], made["drafting_together_over_one_by_one"])
    return [
        *lines,
        "",
        f"Together over one by one: {ratio(both[0])} in all, {ratio(both[1])} of the time for drafting.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--out", type=Path, default=Path("results/vllm.json"))
    given = parser.parse_args()
    made = measure(given.rounds, given.dtype, lambda line: print(line, flush=True))
    with whole(given.out) as temporary:
        temporary.write_text(json.dumps(made, indent=1) + "\n")
    print("\n".join(table(made)))
    print(made["identical_answers"], made["accepted_per_round"], made["draft_share_of_time"])


if __name__ == "__main__":
    main()
