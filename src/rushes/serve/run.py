"""Starts the server, and stops it without losing an answer."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from rushes.errors import RushesError
from rushes.serve.app import create_app
from rushes.serve.backend import Backend
from rushes.serve.config import Config
from rushes.serve.metrics import Metrics

log = logging.getLogger("rushes.serve")
_HEADER_BYTES = 64 * 1024
_HEADERS_S = 30  # from a connection, or the answer before, until a request is there


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


class _Protocol(H11Protocol):
    """The implementation that bounds headers, whichever others are installed; and the time that they may take."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._request = self.loop.call_later(_HEADERS_S, self._no_request)

    def connection_lost(self, exc: Exception | None) -> None:
        self._request.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._request.cancel()
        self._request = self.loop.call_later(_HEADERS_S, self._no_request)

    def _no_request(self) -> None:
        """Hang up on a client that has not asked for anything in all that time."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()


class _Server(uvicorn.Server):
    """Sends away who waits as soon as it is told to stop; what is being written goes on."""

    def __init__(self, config: uvicorn.Config, drain: Callable[[], None]) -> None:
        super().__init__(config)
        self._drain = drain
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not uvicorn's own: it would raise the signal again behind a clean end.
        if self._loop is not None:  # a signal comes between any two steps of what the loop is doing, or a log's line
            self._loop.call_soon_threadsafe(self._stop, signal.Signals(sig).name)
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    def _stop(self, name: str) -> None:
        log.info("stopping", extra={"signal": name})
        self._drain()


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
        http=_Protocol,
        ws="none",
        h11_max_incomplete_event_size=_HEADER_BYTES,
        timeout_keep_alive=_HEADERS_S,
    )
    server = _Server(settings, backend.drain)
    log.info("serving", extra={"address": address_of(listening), "model": config.model})
    server.run(sockets=[listening])
    log.info("stopped")
