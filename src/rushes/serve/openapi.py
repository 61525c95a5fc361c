"""What the API says of itself, errors included."""

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
        429: "The queue is full; see Retry-After.",
        503: "The server is stopping, or the deadline has passed; see Retry-After.",
    }.items()
}
_MOST = 300  # letters of a message


def describe(app: FastAPI) -> None:
    """Put the error object into the application's description, in place of FastAPI's own, which nobody sends."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = generate()
            schemas = made.setdefault("components", {}).setdefault("schemas", {})
            schemas["Error"] = _ERROR
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            for path in made["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def explained(error: RequestValidationError) -> Refusal:
    """A body of another form, in a sentence; what was given is not repeated."""
    first = error.errors()[0]
    where = [piece for piece in first["loc"] if piece != "body"]
    path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in where).lstrip(".")
    words = "not known here" if first["type"] == "extra_forbidden" else first["msg"][0].lower() + first["msg"][1:]
    path = path if path.isprintable() else "the body"
    return Refusal(f"{path or 'the body'}: {words}"[:_MOST], param=path[:_MOST] or None)
