"""The deployment that speaks HTTP: the same application as `rushes serve`, over replicas on Ray."""

import re
from collections.abc import MutableMapping
from typing import Any

from ray import serve

from rushes.serve.app import create_app
from rushes.serve.config import Config
from rushes.serve.guard import Receive, Scope, Send
from rushes.serve.logs import set_up
from rushes.serve.metrics import Metrics
from rushes.serve.ray_backend import RayBackend

_HEADER = b"x-request-id"
_NUMBER = re.compile(rb"[0-9A-Za-z-]{1,64}")


class Numbered:
    """ASGI middleware: a request keeps the number that Ray's proxy gave it, or took from the client.

    The proxy adds it to every answer; without this there would be two headers, and another number in the log.

    Args:
        app: What it stands before.
    """

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        number = dict(scope.get("headers", ())).get(_HEADER, b"")
        if _NUMBER.fullmatch(number):
            scope.setdefault("state", {})["request_id"] = number.decode()

        async def once(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [header for header in message["headers"] if header[0] != _HEADER]
            await send(message)

        await self._app(scope, receive, once)


@serve.ingress()
class Front:
    """There is one of it, so its queue, its metrics and its memory of who holds what are whole.

    Args:
        pairs: Ray's handle of the pairs' deployment.
        replicas: How many pairs there are.
        config: The server's.
    """

    def __init__(self, pairs: Any, replicas: int, config: Config) -> None:
        set_up()
        self._config = config
        self._metrics = Metrics()
        self._backend = RayBackend(pairs, replicas, config, self._metrics)

    def __serve_build_asgi_app__(self) -> Any:
        return Numbered(create_app(self._backend, self._config, self._metrics))

    async def finish(self) -> None:
        """Take no more requests, send away those that wait, and let the answers that are being written end."""
        await self._backend.close()
