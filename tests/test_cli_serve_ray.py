"""`rushes serve --ray` says in one line what it cannot do, before anything is started."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]


def test_without_the_extra_it_says_what_to_install(rushes: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] == "ray" or name.startswith("rushes.serve.ray_"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    said = rushes("serve", "--ray")
    assert (said.code, said.out) == (2, "")
    assert said.err == 'rushes: --ray needs Ray Serve, which is not installed here; pip install "rushes[ray]"\n'


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--ray", "--device", "cuda:0,cuda:1", "--replicas", 2),
            "--device cuda:0,cuda:1 with --ray; give cpu or cuda",
        ),
        (("--ray", "--device", "mps"), "--device mps with --ray; give cpu or cuda"),
        (("--ray", "--draft-device", "cpu"), "--draft-device with --ray"),
        (("--ray", "--dtype", "int8"), "int8"),
        (("--ray", "--draft", "somewhere"), "--draft without --target"),
        (("--ray", "--replica-cpus", 0), "--replica-cpus"),
        (("--replica-cpus", 2), "--replica-cpus without --ray"),
    ],
)
def test_options_that_make_no_sense(rushes: Run, options: tuple[Any, ...], words: str) -> None:
    said = rushes("serve", *options)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("rushes: ")
    assert words in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("127.0.0.1:1", "there is no Ray cluster at RAY_ADDRESS; correct it, or unset it to start one"),
        ("ray://127.0.0.1:1", "run this on a node of the cluster, with host:port, auto or local"),
    ],
)
def test_a_cluster_that_is_not_there(rushes: Run, monkeypatch: pytest.MonkeyPatch, address: str, words: str) -> None:
    pytest.importorskip("ray.serve")
    monkeypatch.setenv("RAY_ADDRESS", address)
    said = rushes("serve", "--ray")
    assert (said.code, said.out) == (2, "")
    assert said.err.endswith(f"{words}\n")
    assert said.err.count("\n") == 1
