"""What the API says of itself, errors included."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError

from rushes.serve.refusals import Refusal

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": words, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    for status, words in {
        400: "The request cannot be answered; the message says why.",
        401: "The API key is missing or wrong.",
        404: "There is no such model.",
        408: "The body took too long to arrive.",
        413: "Something is too large.",
        415: "The body is not JSON.",
        429: "The queue is full; see Retry-After.",
        503: "The server is stopping, or the deadline has passed; see Retry-After.",
    }.items()
}
_COMPLETION = {
    "type": "object",
    "required": ["id", "object", "created", "model", "choices", "usage", "metrics", "rushes"],
    "properties": {
        "id": {"type": "string"},
        "object": {"const": "chat.completion"},
        "created": {"type": "integer"},
        "model": {"type": "string"},
        "choices": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": {
                "type": "object",
                "required": ["index", "message", "logprobs", "finish_reason"],
                "properties": {
                    "index": {"const": 0},
                    "message": {
                        "type": "object",
                        "required": ["role", "content", "refusal"],
                        "properties": {
                            "role": {"const": "assistant"},
                            "content": {"type": "string"},
                            "refusal": {"type": "null"},
                        },
                    },
                    "logprobs": {"type": "null"},
                    "finish_reason": {"enum": ["stop", "length"]},
                },
            },
        },
        "usage": {
            "type": "object",
            "required": ["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"],
            "properties": {
                "prompt_tokens": {"type": "integer", "minimum": 1},
                "completion_tokens": {"type": "integer", "minimum": 1},
                "total_tokens": {"type": "integer", "minimum": 2},
                "prompt_tokens_details": {
                    "type": "object",
                    "required": ["cached_tokens"],
                    "properties": {"cached_tokens": {"type": "integer", "minimum": 0}},
                },
            },
        },
        "metrics": {"type": "object", "required": ["speculative_decoding"]},
        "rushes": {"type": "object", "required": ["method", "lossless", "video_tokens", "kept_tokens", "notes"]},
    },
}
ANSWER: dict[str, Any] = {
    "description": "The answer, whole or as server-sent events.",
    "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/Completion"}},
        "text/event-stream": {"schema": {"type": "string"}},
    },
}
_MOST = 300  # letters of a message


def describe(app: FastAPI) -> None:
    """Put the error object into the application's description, in place of FastAPI's own, which nobody sends."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = generate()
            schemas = made.setdefault("components", {}).setdefault("schemas", {})
            schemas |= {"Error": _ERROR, "Completion": _COMPLETION}
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            for path in made["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _within(value: Any, loc: Sequence[int | str], missing: bool) -> list[int | str]:
    """The pieces of a location that are in the body; pydantic names branches of unions too."""
    where: list[int | str] = []
    for i, piece in enumerate(loc):
        inside = piece in value if isinstance(value, dict) else isinstance(piece, int) and isinstance(value, list)
        if inside:
            value = value[piece]
        if inside or (missing and i == len(loc) - 1):
            where.append(piece)
    return where


def explained(error: RequestValidationError) -> Refusal:
    """A body of another form, in a sentence; what was given is not repeated."""
    # Of a union's branches the one says most that agreed with the value's type.
    first = min(error.errors(), key=lambda one: one["type"].endswith("_type"))
    where = _within(error.body, first["loc"][1:], missing=first["type"] == "missing")
    path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in where).lstrip(".")
    words = "not known here" if first["type"] == "extra_forbidden" else first["msg"][0].lower() + first["msg"][1:]
    path = path if path.isprintable() else "the body"
    return Refusal(f"{path or 'the body'}: {words}"[:_MOST], param=path[:_MOST] or None)
