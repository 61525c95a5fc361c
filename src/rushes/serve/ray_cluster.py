"""Where a server on Ray runs: on a cluster that is there, or on one that lives as long as the server."""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any

import ray
from ray import serve

from rushes.errors import RushesError
from rushes.serve.run import address_of, listen

_PROXY_S = 120.0  # for Ray's HTTP proxy to start
_POLL_S = 0.5
_QUIET: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}


@contextmanager
def cluster(host: str, port: int, cpus: float, say: Callable[[str], None]) -> Iterator[str]:
    """Ray and Serve, running; what was started for this is stopped again.

    Args:
        host, port: For HTTP, on the cluster's head; port 0 takes a free one.
        cpus: Cores that a new cluster must offer.
        say: Shows people a line.

    Yields:
        Where HTTP is, for people.

    Raises:
        RushesError: The address is taken, or the cluster that RAY_ADDRESS names is not there.
        RayError: Ray does not start.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    ours = not _joined()
    if ours or port == 0:
        with listen(host, port) as listening:
            host, port = listening.getsockname()[:2]
            address = address_of(listening)
    else:
        address = f"http://{host}:{port}"
    if ours:
        say("no Ray cluster was found; starting one on this machine")
        # Ray starts its processes at niceness 15, and kills a proxy that is not there in 5 s: behind whatever else runs
        # here, that may be all of them.
        os.environ.setdefault("RAY_worker_niceness", "0")
        os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "30")
        # For whoever is on this machine, not for its network: who can talk to Ray can run anything.
        count = max(os.cpu_count() or 1, ceil(cpus))
        ray.init(address="local", num_cpus=count, include_dashboard=False, _node_ip_address="127.0.0.1", **_QUIET)
    try:
        running = bool(serve.status().proxies)
        try:
            if not running:
                _start_serve(host, port)
            yield "the address of the Serve that runs on this cluster already" if running else address
        finally:
            if not running and not ours:
                serve.shutdown()
    finally:
        ray.shutdown()


def _start_serve(host: str, port: int) -> None:
    """Start Serve, and wait for its proxy: Ray gives it 5 seconds, kills it, and gives the next one 5 more.

    Raises:
        RushesError: None has started.
    """
    until = time.monotonic() + _PROXY_S
    try:
        serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})
    except (ray.exceptions.RayActorError, TimeoutError):
        while not any(proxy == "HEALTHY" for proxy in serve.status().proxies.values()):
            if time.monotonic() > until:
                raise RushesError(
                    f"Ray's HTTP proxy did not start within {_PROXY_S:.0f} s; is a core free on its node, and the port?"
                ) from None
            time.sleep(_POLL_S)


def _joined() -> bool:
    """Join the cluster of RAY_ADDRESS, or one that was started on this machine; False if there is none to be joined."""
    named = os.environ.get("RAY_ADDRESS", "auto") or "auto"
    if named == "local":
        return False
    if named != "auto":
        _reach(named)
    try:
        ray.init(address=named, **_QUIET)
    except ConnectionError as error:
        if named != "auto":
            raise _missing() from error
        return False
    return True


def _reach(named: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = named.rpartition(":")
    if "://" in host or not port.isdigit():
        raise RushesError(f"RAY_ADDRESS is {named}; run this on a node of the cluster, with host:port, auto or local")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise _missing() from error


def _missing() -> RushesError:
    return RushesError("there is no Ray cluster at RAY_ADDRESS; correct it, or unset it to start one")
