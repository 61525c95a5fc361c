"""A process that is interrupted or killed in the middle of its work leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from rushes.video import write_video

ENOUGH = 3000  # tokens: more than anybody waits for here


def shared_memory() -> set[str]:
    return set(os.listdir("/dev/shm")) if Path("/dev/shm").is_dir() else set()


def started(video: Path, method: str) -> subprocess.Popen[bytes]:
    """`rushes generate`, at its first word."""
    command = [sys.executable, "-m", "rushes", "generate", str(video), "--method", method]
    process = subprocess.Popen(
        [*command, "--max-new-tokens", str(ENOUGH)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.read(1)
    return process


@pytest.mark.parametrize("method", ["hippo", "parallelvlm", "hippo+chain+exact+adaptive:overlap=always"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_in_the_middle_of_a_window(method: str, number: signal.Signals, video: Path) -> None:
    before = shared_memory()
    process = started(video, method)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    if number == signal.SIGINT:
        assert process.returncode in (130, -signal.SIGINT)
        assert err.decode().strip().splitlines()[-1:] == ["rushes: interrupted"]
        assert b"Traceback" not in err
    else:
        assert process.returncode == -number
    assert not psutil.wait_procs(children, timeout=10)[1]
    assert shared_memory() <= before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("after_s", [0.5, 2.0, 8.0])
def test_a_signal_at_any_time(after_s: float, number: signal.Signals, tmp_path: Path) -> None:
    """While modules and weights are loaded, while a video is read, in a prefill: wherever it is by then."""
    before = shared_memory()
    command = [sys.executable, "-m", "rushes", "bench", "--samples", "20", "--methods", "ar,hippo,parallelvlm"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    time.sleep(after_s)
    process.send_signal(number)
    err = process.communicate(timeout=60)[1].decode()
    if number == signal.SIGINT:
        # Python itself ends by the signal where it interrupted a line that was being compiled; a shell calls both 130.
        assert process.returncode in (130, -signal.SIGINT)
        assert err.splitlines()[-1:] == ["rushes: interrupted"]
    else:
        assert process.returncode == -number
    assert not list(tmp_path.glob("*.json"))
    assert shared_memory() <= before


def test_an_interrupt_that_a_library_swallows_comes_again(tmp_path: Path) -> None:
    """Python only reports what is raised in a destructor, and goes on. Once heard, it does not disturb the end."""
    program = """
import atexit, rushes.cli, sys, time
atexit.register(time.sleep, 2)
class Deaf:
    def __del__(self):
        print("now", flush=True)
        time.sleep(30)
def endless(*_):
    Deaf()
    print("went on", flush=True)
    time.sleep(60)
rushes.cli.AGAIN_S = 1.0
rushes.cli._load = endless
sys.argv = ["rushes", "generate", sys.argv[1]]
rushes.cli.main()
"""
    video = tmp_path / "a.mp4"
    write_video(video, np.zeros((8, 56, 56, 3), np.uint8), 8)
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(video)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "now\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert out == "went on\n"
    assert process.returncode == 130
    assert err.splitlines()[-1] == "rushes: interrupted"


def test_a_reader_that_goes_away(video: Path) -> None:
    process = started(video, "hippo")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=120) == 0  # as in `rushes generate ... | head`
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
