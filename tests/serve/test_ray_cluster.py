"""Ray Serve's proxy on a machine that has much else to do: one that was killed for being slow is not the end."""

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray.serve")

from ray.exceptions import ActorDiedError

from rushes.errors import RushesError
from rushes.serve import ray_cluster


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The states that Serve tells of its proxy, one for each question; its first proxy has died."""
    states: list[str] = []

    def start(**_: Any) -> None:
        raise ActorDiedError()

    def status() -> Any:
        return SimpleNamespace(proxies={"node": states.pop(0)} if states else {})

    monkeypatch.setattr(ray_cluster, "serve", SimpleNamespace(start=start, status=status))
    monkeypatch.setattr(ray_cluster, "_POLL_S", 0.001)
    return states


def test_a_proxy_that_died_while_it_started_is_followed_by_another(proxies: list[str]) -> None:
    proxies += ["UNHEALTHY", "STARTING", "HEALTHY", "never asked"]
    ray_cluster._start_serve("127.0.0.1", 8000)
    assert proxies == ["never asked"]


def test_none_that_starts_is_said_in_one_line(proxies: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "_PROXY_S", 0.05)
    with pytest.raises(RushesError, match="proxy did not start within"):
        ray_cluster._start_serve("127.0.0.1", 8000)
