"""The routes: OpenAI's, and a few of our own."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from rushes import __version__
from rushes.serve.backend import Backend
from rushes.serve.config import Config
from rushes.serve.guard import Guard
from rushes.serve.job import Done, Job, Message, Piece
from rushes.serve.metrics import CONTENT_TYPE, Metrics
from rushes.serve.openapi import ANSWER, ERRORS, describe, explained
from rushes.serve.page import pages
from rushes.serve.refusals import GONE, Refusal
from rushes.serve.replies import Reply, failed
from rushes.serve.schema import ChatRequest
from rushes.serve.streaming import EventStream, unless_gone
from rushes.serve.understand import job_of

log = logging.getLogger("rushes.serve")


def create_app(backend: Backend, config: Config, metrics: Metrics) -> Any:
    """The whole application, with its guard.

    Args:
        backend: Answers; closed when the application ends.
        config: How the server is set up.
        metrics: What the backend fills in too.
    """

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        await backend.close()

    app = FastAPI(
        title="rushes", version=__version__, lifespan=life, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    started = int(time.time())

    @app.post("/v1/chat/completions", responses={200: ANSWER, **ERRORS})
    async def chat_completions(body: ChatRequest, request: Request) -> Response:
        """Answer a conversation about videos and pictures."""
        arrived, request_id = time.monotonic(), request.state.request_id
        client = "" if request.client is None else request.client.host
        job = job_of(body, config, request_id=request_id, client=client)
        if config.log_content:
            log.info("asked", extra={"request": request_id, "turns": _texts(job)})
        usage = body.stream_options is not None and bool(body.stream_options.include_usage)
        reply = Reply(f"chatcmpl-{request_id}", config.model, usage)
        watched = _counted(backend.answer(job), metrics, arrived, request, config.log_content)
        if body.stream:
            first = await unless_gone(request, anext(watched))
            return EventStream(_chunks(reply, first, watched), watched)
        return JSONResponse(reply.whole(await unless_gone(request, _whole(reply, watched))))

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The one model that is served."""
        return {"object": "list", "data": [_model(config, started)]}

    @app.get("/v1/models/{name:path}", responses={404: ERRORS[404]})
    async def model(name: str) -> dict[str, Any]:
        """The same, by name."""
        if name != config.model:
            raise Refusal(f"there is no model of that name; this server has {config.model}", status=404)
        return _model(config, started)

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Is the server up?"""
        return {"status": "ok"}

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def figures() -> Response:
        """For Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        request.state.code = error.code
        return JSONResponse(error.body(), status_code=error.status, headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def misunderstood(request: Request, error: RequestValidationError) -> Response:
        if not isinstance(error.body, dict | list | None) and not _json(request):
            words = "the body must be JSON, under Content-Type: application/json"
            return await refused(request, Refusal(words, status=415, code="not_json"))
        return await refused(request, explained(error))

    @app.exception_handler(HTTPException)
    async def lost(request: Request, error: HTTPException) -> Response:
        made = JSONResponse(Refusal(str(error.detail), status=error.status_code).body(), status_code=error.status_code)
        made.headers.update(error.headers or {})
        return made

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        request_id = request.state.request_id
        log.error("a request failed", exc_info=error, extra={"request": request_id})
        words = f"internal error; the server's log has the reason under request {request_id}"
        return JSONResponse(Refusal(words, status=500).body(), status_code=500)

    app.include_router(pages(config))
    describe(app)
    guarded: Any = Guard(app, config, metrics)
    if config.origins:  # outside of the guard: a browser asks first, and without the key
        headers = ["authorization", "content-type"]
        guarded = CORSMiddleware(guarded, config.origins, allow_methods=["GET", "POST"], allow_headers=headers)
    return guarded


async def _counted(
    messages: AsyncGenerator[Message], metrics: Metrics, arrived: float, request: Request, content: bool
) -> AsyncGenerator[Message]:
    """The messages of an answer, which is counted when it ends; closes them whatever happens."""
    first_s, texts, begun, complete = 0.0, [], False, False
    try:
        async for message in messages:
            now = time.monotonic() - arrived
            if isinstance(message, Piece):
                first_s = first_s or (now if message.text else 0.0)
                texts.append(message.text if content else "")
            else:
                complete = True
                metrics.count_answer(message, now, first_s or now)
                request.state.log = {
                    "method": message.facts["method"],
                    "prompt_tokens": message.prompt_tokens,
                    "cached_tokens": message.cached_tokens,
                    "completion_tokens": message.completion_tokens,
                    "first_token_s": round(first_s or now, 4),
                    "finish_reason": message.finish_reason,
                }
                if content:
                    log.info("answered", extra={"request": request.state.request_id, "text": "".join(texts)})
            begun = True
            yield message
    except (asyncio.CancelledError, GeneratorExit):
        if not complete:
            request.state.broken_off = GONE
        raise
    except Refusal as error:
        if begun:  # its status was sent, and it was 200
            request.state.broken_off, request.state.code = error.status, error.code
        raise
    finally:
        await messages.aclose()


async def _whole(reply: Reply, messages: AsyncGenerator[Message]) -> Done:
    async with aclosing(messages):
        async for message in messages:
            if isinstance(message, Done):
                return message
            reply.add(message)
    raise AssertionError("an answer without an end")


async def _chunks(reply: Reply, first: Message, messages: AsyncGenerator[Message]) -> AsyncGenerator[bytes]:
    try:
        yield reply.opening()
        yield _chunk(reply, first)
        async for message in messages:
            yield _chunk(reply, message)
    except Refusal as error:  # too late for a status
        yield failed(error.body())


def _chunk(reply: Reply, message: Message) -> bytes:
    return reply.chunk(message) if isinstance(message, Piece) else reply.closing(message)


def _json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _model(config: Config, started: int) -> dict[str, Any]:
    return {"id": config.model, "object": "model", "created": started, "owned_by": "rushes"}


def _texts(job: Job) -> list[dict[str, str]]:
    return [
        {"role": turn.role, "text": " ".join(p if isinstance(p, str) else f"[{p.kind}]" for p in turn.parts)}
        for turn in job.turns
    ]
