"""The page at `/`, and what it asks for: files that come along, no build step, nothing from elsewhere."""

from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import APIRouter, Response

from rushes import methods
from rushes.serve.config import Config

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}
_MODULES = ("answer", "api", "film", "notice", "page", "race", "spoken", "video", "words")
_FILES = {"index.html": "text/html", "page.css": "text/css"} | {f"{name}.js": "text/javascript" for name in _MODULES}


def pages(config: Config) -> APIRouter:
    """The routes of the page."""
    router = APIRouter()

    @router.get("/", response_class=Response, include_in_schema=False)
    async def index() -> Response:
        return _file("index.html")

    @router.get("/page/{name}", response_class=Response, include_in_schema=False)
    async def file(name: str) -> Response:
        return _file(name) if name in _FILES else Response(status_code=404)

    @router.get("/demo.mp4", response_class=Response, include_in_schema=False)
    def demo() -> Response:
        return Response(demo_video(), media_type="video/mp4", headers=_HEADERS)

    @router.get("/v1/methods")
    async def known() -> dict[str, Any]:
        """The methods that a request can name; method and share kept of those that name none."""
        return {
            "default": config.method,
            "keep": config.keep,
            "data": [
                {"id": name, "recipe": recipe, "lossless": methods.method(name).lossless, "description": words}
                for name, (recipe, words) in methods.METHODS.items()
            ],
        }

    return router


def _file(name: str) -> Response:
    content = (files(__name__) / name).read_bytes()
    headers = {**_HEADERS, "Content-Security-Policy": _POLICY}
    return Response(content, media_type=f"{_FILES[name]}; charset=utf-8", headers=headers)


@lru_cache(1)
def demo_video() -> bytes:
    """A generated video: six scenes of coloured shapes."""
    from rushes.demo.held_out import DEMO_SCENES, DEMO_SECONDS, held_out_clip, write_clip

    with TemporaryDirectory() as folder:
        return write_clip(held_out_clip(0, DEMO_SCENES, DEMO_SECONDS), Path(folder) / "demo.mp4").read_bytes()
