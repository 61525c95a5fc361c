"""What every test needs before it imports transformers, and the fixtures that are made once."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from rushes._transformers import transformers

transformers.logging.set_verbosity_error()
torch.set_num_threads(1)  # tiny models gain nothing from more, and lose much on a busy machine


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-support", action="store_true", help="write the tables of support from what runs")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Groups share servers, clusters and notes of what ran: a pytest-xdist that scatters them must not go unnoticed."""
    grouped = [item for item in items if item.get_closest_marker("xdist_group")]
    if getattr(config.option, "loadgroup", False) and any("@" not in item.nodeid for item in grouped):
        pytest.exit("this pytest-xdist does not keep groups together under this pytest; see constraints.txt", 4)


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def rushes(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a command line in this process: importing torch anew for each would take minutes."""
    from rushes.cli import main

    def run(*args: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["rushes", *map(str, args)])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return Outcome(code, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A red square that crosses a grey picture: 16 frames, 2 seconds."""
    from rushes.video import write_video

    frames = np.full((16, 84, 112, 3), 128, np.uint8)
    for i, frame in enumerate(frames):
        frame[30:54, 4 + 4 * i : 28 + 4 * i] = (220, 30, 30)
    path = tmp_path_factory.mktemp("video") / "red.mp4"
    write_video(path, frames, 8)
    return path
