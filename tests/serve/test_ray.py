"""`rushes serve --ray` on a local Ray of two nodes: the library's answers, and every video at the replica that holds it."""

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest

from rushes import Pair
from rushes.demo import bundled
from rushes.demo.held_out import held_out_clip, write_clip
from serve.running import Running, asked, data_url, running

cluster_utils = pytest.importorskip("ray.cluster_utils")
pytestmark = pytest.mark.xdist_group("ray")
MODEL = "rushes-demo"
QUESTION = "Describe the video in detail."


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("media")
    return [write_clip(held_out_clip(number, 3, 1.0), folder / f"{number}.mp4") for number in range(4)]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """Two nodes with room for one replica each."""
    node = {"num_cpus": 1, "object_store_memory": 128 * 2**20, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=node)
        try:
            cluster.add_node(**node)
            patch.setenv("RAY_ADDRESS", cluster.address)
            with running("--ray", "--replicas", "2", "--queue", "4", "--grace", "5") as made:
                yield made
                assert made.stop() == 0
        finally:
            cluster.shutdown()


def complete(server: Running, messages: Any, **more: Any) -> Any:
    extra = {name: more.pop(name) for name in ("method", "reuse") if name in more}
    more.setdefault("max_tokens", 32)
    return server.client().chat.completions.create(model=MODEL, messages=messages, extra_body=extra, **more)


def replicas() -> list[psutil.Process]:
    """The replicas' processes, by their titles."""
    found = [one for one in psutil.process_iter() if "ServeReplica:rushes:Pair" in " ".join(one.cmdline())]
    return sorted(found, key=lambda one: one.pid)


def test_one():
    pass


def test_an_answer_is_the_librarys(server: Running, clips: list[Path]) -> None:
    pair = bundled.pair()
    for method in ("ar", "specvlm"):
        answer = complete(server, asked(data_url(clips[0]), QUESTION), method=method)
        wanted = pair.generate(clips[0], QUESTION, method=method, max_new_tokens=32)
        assert answer.choices[0].message.content == wanted.text
    print(server.log, replicas(), [p.cpu_times() for p in replicas()])
    print(server.metrics())
    assert 0
