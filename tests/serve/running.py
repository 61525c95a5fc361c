"""A real server in a process of its own, on a free port."""

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai

START_S = 300  # of a machine that has much else to do


@dataclass
class Running:
    """A server that answers.

    Attributes:
        address: Without a path.
        log: What it has written so far, line by line.
    """

    process: "subprocess.Popen[str]"
    address: str = ""
    log: list[str] = field(default_factory=list)

    def client(self, key: str = "none") -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.address}/v1", api_key=key, max_retries=0, timeout=120)

    def metrics(self) -> dict[str, float]:
        """Values of /metrics by name and labels."""
        with urllib.request.urlopen(f"{self.address}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, _, value in (x.rpartition(" ") for x in lines if not x.startswith("#"))}

    def stop(self, timeout_s: float = 60) -> int:
        """Ask it to stop; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


@contextmanager
def running(*options: str) -> Iterator[Running]:
    """`rushes serve` with these options; stopped at the end, and killed if it does not."""
    command = [sys.executable, "-m", "rushes", "serve", "--port", "0", "--dtype", "float32", *options]
    # One thread: the models are tiny, and other tests run beside.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    server, ready = Running(process), threading.Event()

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            server.log.append(line.rstrip("\n"))
            found = re.search(r"rushes serves .* at (http://\S+)", line)
            if found:
                server.address = found[1]
            if found or process.poll() is not None:
                ready.set()
        ready.set()

    threading.Thread(target=read, daemon=True).start()
    try:
        assert ready.wait(START_S), server.log
        assert server.address, server.log
        yield server
    finally:
        try:
            server.stop()
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def data_url(path: Path, kind: str = "video/mp4") -> str:
    return f"data:{kind};base64,{b64encode(path.read_bytes()).decode()}"


def video_part(url: str) -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": url}}


def asked(url: str | None, question: str) -> list[dict[str, Any]]:
    """Messages with one question about one video."""
    media = [] if url is None else [video_part(url)]
    return [{"role": "user", "content": [*media, {"type": "text", "text": question}]}]
