"""The server over HTTP with two workers: `vllm serve --tensor-parallel-size 2` and the openai client."""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI
from serving import COMMON, DRAFT, TARGET, drafting, engine, greedy

from rushes.demo.held_out import held_out_clip, write_clip
from rushes.integrations.vllm.metrics import FOLDER

TOKENS = 60
START_S = 600  # a busy machine starts four processes slowly
WORKERS = 2


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """Messages as a user of the API writes them."""
    made: dict[str, list[dict[str, Any]]] = {"text": [{"role": "user", "content": "What is a red circle?"}]}
    for number in (0, 1):
        path = write_clip(held_out_clip(number, 3, 2.0), tmp_path_factory.mktemp("clips") / "clip.mp4")
        url = "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
        video = {"type": "video_url", "video_url": {"url": url}}
        made[f"video {number}"] = [
            {"role": "user", "content": [video, {"type": "text", "text": "Describe the video in detail."}]}
        ]
    return made


@pytest.fixture(scope="module")
def expected(chats: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    """What vLLM answers without speculation and with one worker."""
    with engine(num_gpu_blocks_override=None) as llm:
        found = [llm.chat(messages, greedy(TOKENS), use_tqdm=False)[0] for messages in chats.values()]
    return {name: one.outputs[0].text for name, one in zip(chats, found, strict=True)}


class Server:
    """A running server.

    Attributes:
        url: Where it answers.
        folder: Where temporary files are made.
        log: What it has written.
    """

    def __init__(self, url: str, folder: Path, log: Path) -> None:
        self.url, self.folder, self.log = url, folder, log
        self.client = OpenAI(base_url=f"{url}/v1", api_key="none")

    def ask(self, messages: list[dict[str, Any]], **how: Any) -> str:
        answer = self.client.chat.completions.create(
            model="target", messages=messages, max_completion_tokens=TOKENS, **{"temperature": 0, **how}
        )
        return str(answer.choices[0].message.content)

    def boards(self) -> list[Path]:
        """A file for each of its drafters."""
        return list(self.folder.glob("rushes-vllm-*/*"))

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"{self.url}/metrics") as page:
            text = page.read().decode()
        return sum(float(value) for value in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE))


@pytest.fixture(scope="module")
def server(expected: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = drafting()
    spec, additional = given["speculative_config"], given["additional_config"]
    assert additional["rushes"]["draft"] == DRAFT
    # What `vllm serve` runs; the CPU build's own `vllm` command does not find its version and fails.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", TARGET]
    command += ["--served-model-name", "target", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--tensor-parallel-size", str(WORKERS), "--enforce-eager", "--dtype", "float32"]
    command += ["--max-model-len", str(COMMON["max_model_len"]), "--max-num-seqs", "4"]
    command += ["--generation-config", "vllm", "--speculative-config", json.dumps(spec)]
    command += ["--additional-config", json.dumps(additional)]
    log = folder / "log"
    # One thread for each worker, wherever there is a core: left alone, vLLM binds both to the first.
    binding = {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    environment = {**os.environ, **binding, "TMPDIR": str(folder), "VLLM_LOGGING_LEVEL": "INFO"}
    environment.pop(FOLDER, None)  # of an engine in this process
    with log.open("w") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    made = Server(f"http://127.0.0.1:{port}", folder, log)
    try:
        _wait(process, made)
        yield made
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError):  # its engines too, whatever has become of it
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert not list(folder.glob("rushes-vllm-*")), "the drafter left its metrics behind"


def _wait(process: subprocess.Popen[bytes], server: Server) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{server.url}/health"):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail("the server did not start:\n" + server.log.read_text()[-4000:])


def test_one_worker_of_two_drafts(server):
    assert len(server.boards()) == 1
    assert server.log.read_text().count(" drafts for ") == 1


def test_answers_at_the_same_time_are_those_without_speculation(server, chats, expected):
    with ThreadPoolExecutor(len(chats)) as pool:
        found = dict(zip(chats, pool.map(server.ask, chats.values()), strict=True))
    assert found == expected
    assert server.metric("vllm:spec_decode_num_accepted_tokens_total") > 0


def test_metrics_say_what_was_drafted(server, chats, expected):
    before = {name: server.metric(f"rushes:{name}_total") for name in ("draft_prompts", "vision_runs", "vision_reused")}
    assert server.ask(chats["video 0"]) == expected["video 0"]
    after = {name: server.metric(f"rushes:{name}_total") for name in before}
    assert after["draft_prompts"] == before["draft_prompts"] + 1
    assert after["vision_runs"] == before["vision_runs"]
    assert after["vision_reused"] == before["vision_reused"] + 1
    assert server.metric("rushes:draft_seconds_total") > 0
    assert 0 < server.metric("rushes:kept_video_tokens_total") < server.metric("rushes:video_tokens_total")
    assert server.metric("rushes:draft_bytes") > 0
    assert server.metric("rushes:skipped_requests_total") == 0


def test_workers_that_sample_agree(server, chats, expected):
    """So cold that sampling is greedy: had one worker gone on from another token, the answer would be another."""
    assert server.ask(chats["video 1"], temperature=0.02) == expected["video 1"]


def test_a_stream_is_the_same_answer(server, chats, expected):
    events = server.client.chat.completions.create(
        model="target", messages=chats["video 0"], max_completion_tokens=TOKENS, temperature=0, stream=True
    )
    assert "".join(event.choices[0].delta.content or "" for event in events if event.choices) == expected["video 0"]


def test_a_client_that_leaves_takes_its_draft_along(server, chats, expected):
    events = server.client.chat.completions.create(
        model="target", messages=chats["video 1"], max_completion_tokens=400, temperature=0, stream=True
    )
    next(iter(events))
    events.close()
    assert server.ask(chats["text"]) == expected["text"]
    end = time.monotonic() + 30
    while server.metric("rushes:live_drafts") > 0 and time.monotonic() < end:
        server.ask(chats["text"])
    assert server.metric("rushes:live_drafts") == 0
