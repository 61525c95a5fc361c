"""Starts the server, and stops it without losing an answer."""

import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from rushes.errors import RushesError
from rushes.serve.app import create_app
from rushes.serve.backend import Backend
from rushes.serve.config import Config
from rushes.serve.metrics import Metrics

log = logging.getLogger("rushes.serve")


def listen(host: str, port: int) -> socket.socket:
    """A socket that connections can be made to; before the models are loaded, so that a taken port shows at once.

    Raises:
        RushesError: The address cannot be used.
    """
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = infos[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RushesError(f"cannot listen on {host} port {port}: {reason}; choose another --port or --host") from error
    made.listen(128)
    return made


def address_of(listening: socket.socket) -> str:
    """Where the server is, for people."""
    host, port = listening.getsockname()[:2]
    return f"http://{'[' + host + ']' if ':' in host else host}:{port}"


class _Server(uvicorn.Server):
    """Sends away who waits as soon as it is told to stop; what is being written goes on."""

    def __init__(self, config: uvicorn.Config, drain: Callable[[], None]) -> None:
        super().__init__(config)
        self._drain = drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not uvicorn's own: it would raise the signal again behind a clean end.
        log.info("stopping", extra={"signal": signal.Signals(sig).name})
        self._drain()
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def serve(backend: Backend, config: Config, metrics: Metrics, listening: socket.socket) -> None:
    """Serve until a signal comes; then answers that are being written have `grace_s` to end."""
    app: Any = create_app(backend, config, metrics)
    settings = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=max(1, round(config.grace_s)),
        h11_max_incomplete_event_size=64 * 1024,
        timeout_keep_alive=30,
    )
    server = _Server(settings, backend.drain)
    log.info("serving", extra={"address": address_of(listening), "model": config.model})
    server.run(sockets=[listening])
    log.info("stopped")
