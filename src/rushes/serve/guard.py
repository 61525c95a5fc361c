"""What stands before every route: a number for each request, the key, the size of the body, one line of log."""

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from uuid import uuid4

from rushes.serve.config import Config
from rushes.serve.metrics import Metrics
from rushes.serve.refusals import GONE, Refusal, gone

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
log = logging.getLogger("rushes.serve.access")
_COMPLETIONS = "/v1/chat/completions"
_KEYED = "/v1/"  # paths that ask for the key
_UNQUEUED = 64  # requests beside those of the queue whose bodies may be in memory
_BODY_S = 60.0  # for a whole body to arrive
_BODIES = 8  # of the largest size, all that are held together
_VALUES = 100_000  # in a body; each becomes an object, or several where it is wrong


class Guard:
    """ASGI middleware. Nothing of a request's content goes into the log.

    Args:
        app: What it guards.
        config: Key and limits.
        metrics: Filled in.
    """

    def __init__(self, app: Any, config: Config, metrics: Metrics) -> None:
        self._app = app
        self._config = config
        self._metrics = metrics
        self._open = self._held_bytes = 0
        self._most_values = max(_VALUES, 4 * config.limits.prompt_tokens)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, begun = time.monotonic(), 500, False
        # What stands before this one may have a number for it already; a client's header does not get here.
        request_id = scope.setdefault("state", {}).setdefault("request_id", uuid4().hex)

        async def numbered(message: MutableMapping[str, Any]) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            await send(message)

        takes = scope["method"] == "POST" and scope["path"] == _COMPLETIONS  # nobody else's body is read
        self._open += takes
        try:
            self._check(scope, takes)
            await self._app(scope, await self._read(receive, scope["state"]) if takes else receive, numbered)
        except Refusal as refusal:
            if begun:
                raise
            await _answer(refusal, numbered)
        finally:
            self._open -= takes
            self._held_bytes -= scope["state"].get("body_bytes", 0)
            status = scope["state"].get("broken_off", status)
            if status == GONE:
                self._metrics.count_cancelled()
            elif status >= 400:
                self._metrics.count_refusal(status, scope["state"].get("code"))
            log.info(
                "request",
                extra={
                    "request": request_id,
                    "http_method": scope["method"],
                    "route": scope["path"] if status != 404 else "unknown",
                    "status": status,
                    "seconds": round(time.monotonic() - started, 4),
                    **scope["state"].get("log", {}),
                },
            )

    async def _read(self, receive: Receive, state: MutableMapping[str, Any]) -> Receive:
        """Read the whole body, as long as it is within the limits; the app gets it in one piece.

        Its bytes count as held until the request ends: the app keeps them, in one form or another, while it waits.
        """
        pieces, size = [], 0
        try:
            async with asyncio.timeout(_BODY_S):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise gone()
                    pieces.append(message.get("body", b""))
                    size += len(pieces[-1])
                    self._held_bytes += len(pieces[-1])
                    state["body_bytes"] = size
                    if size > self._config.limits.body_bytes:
                        raise _too_large(self._config)
                    if self._held_bytes > _BODIES * self._config.limits.body_bytes:
                        raise _too_many()
                    if not message.get("more_body"):
                        break
        except TimeoutError:
            raise Refusal("the request's body took too long", status=408, code="body_too_slow") from None
        body = b"".join(pieces)
        if sum(map(body.count, (b",", b"[", b"{"))) > self._most_values:
            raise Refusal("the request's body has too many values", status=413, code="body_too_complex")
        left: list[MutableMapping[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> MutableMapping[str, Any]:
            return left.pop() if left else await receive()

        return again

    def _check(self, scope: Scope, takes: bool) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        key = self._config.api_key
        if key is not None and scope["path"].startswith(_KEYED):
            kind, _, given = headers.get(b"authorization", b"").partition(b" ")
            if not hmac.compare_digest(given.strip(), key.encode()) or kind.lower() != b"bearer":
                scope["state"]["code"] = "invalid_api_key"
                raise Refusal("the API key is missing or wrong", status=401, code="invalid_api_key")
        if takes and self._open > self._config.queue + _UNQUEUED:
            raise Refusal("too many requests at once; try again later", status=429, code="too_many", retry_after_s=1)
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._config.limits.body_bytes:
            raise _too_large(self._config)


def _too_large(config: Config) -> Refusal:
    return Refusal(
        f"the request's body is larger than {config.limits.body_bytes} bytes; send fewer or smaller files",
        status=413,
        code="body_too_large",
    )


def _too_many() -> Refusal:
    return Refusal(
        "the server holds as much as it can of what was sent to it; try again later",
        status=429,
        code="too_many_bytes",
        retry_after_s=10,
    )


async def _answer(refusal: Refusal, send: Send) -> None:
    body = json.dumps(refusal.body()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in refusal.headers.items()]
    if refusal.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
