"""Puts a server on Ray, stands by while it runs, and takes it away again."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from threading import Event
from types import FrameType
from typing import Any

import ray
from ray import serve

from rushes.errors import RushesError
from rushes.serve.config import Config
from rushes.serve.ray_app import NAME, application
from rushes.serve.ray_cluster import cluster
from rushes.serve.ray_pair import PairSpec

_POLL_S = 0.5
_SAID_S = 30.0  # between two lines about what is waited for


def run_on_ray(
    spec: PairSpec, config: Config, replicas: int, cpus: float, host: str, port: int, say: Callable[[str], None]
) -> None:
    """Serve until a signal comes.

    Args:
        spec: Of each pair; the device "auto" is a GPU where the cluster has one.
        config: The server's.
        replicas, cpus: How many pairs, and cores for each.
        host, port: For HTTP, on the cluster's head.
        say: Shows people a line.

    Raises:
        RushesError: As `cluster`; a server runs there already, or its pair cannot be loaded.
    """
    try:
        with cluster(host, port, replicas * cpus, say) as address, _signals() as stop:
            if NAME in serve.status().applications:
                raise RushesError(f"an application named {NAME} runs on this cluster already; stop that one first")
            if spec.device == "auto":
                spec = replace(spec, device="cuda" if ray.cluster_resources().get("GPU") else "cpu")
            target = serve.RunTarget(application(spec, config, replicas, cpus), name=NAME, route_prefix="/")
            try:
                (front,) = serve.run_many([target], wait_for_applications_running=False)
                if _comes_up(stop, say):
                    count = f"{replicas} replica{'s' if replicas > 1 else ''}"
                    say(f"rushes serves {config.model} on {count} at {address} (Ctrl-C stops)")
                    stop.wait()
                    with suppress(Exception):  # it may be gone
                        front.finish.remote().result(timeout_s=config.grace_s + 5)
            finally:
                serve.delete(NAME)
    except ray.exceptions.RayError as error:
        raise RushesError(f"Ray does not run it: {_reason(str(error))}") from error


def _comes_up(stop: Event, say: Callable[[str], None]) -> bool:
    """Wait until all replicas are there; False if a signal came first.

    Raises:
        RushesError: They cannot be started.
    """
    waited = 0.0
    while not stop.is_set():
        now = serve.status().applications[NAME]
        if now.status == "RUNNING":
            return True
        if now.status in ("DEPLOY_FAILED", "UNHEALTHY"):
            reasons = [one.message for one in now.deployments.values() if one.status in ("DEPLOY_FAILED", "UNHEALTHY")]
            raise RushesError(f"the replicas do not start: {_reason(' '.join(reasons) or now.message)}")
        if waited % _SAID_S == 0 and waited:
            say("still waiting for the replicas; does the cluster have the cores and GPUs that they ask for?")
        stop.wait(_POLL_S)
        waited += _POLL_S
    return False


def _reason(message: str) -> str:
    """The last line of a traceback, without the name of what was raised."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    marked = [line for line in lines if "Error: " in line]
    return (marked or lines or ["no reason was given"])[-1].partition("Error: ")[2] or lines[-1]


@contextmanager
def _signals() -> Iterator[Event]:
    """Set by Ctrl-C and SIGTERM."""
    stop = Event()

    def note(number: int, frame: FrameType | None) -> None:
        stop.set()

    before: dict[Any, Any] = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
