"""What the Dockerfile and the compose file name is there: files, options, variables, routes."""

import json
import re
import shlex
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from rushes.cli import app

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]


@pytest.fixture(scope="module")
def service() -> Any:
    composed = yaml.safe_load((ROOT / "compose.yaml").read_text())
    assert {one.split(":")[0] for one in composed["services"]["rushes"]["volumes"]} == {"./media", *composed["volumes"]}
    return composed["services"]["rushes"]


def only(steps: list[tuple[str, str]], name: str) -> str:
    (found,) = (rest for step, rest in steps if step == name)
    return found


def test_the_command_line_takes_what_they_call(steps: list[tuple[str, str]], service: Any) -> None:
    program, command, *options = json.loads(only(steps, "ENTRYPOINT")) + service["command"]
    scripts = (ROOT / "pyproject.toml").read_text().partition("[project.scripts]")[2]
    assert re.search(rf"^{program} = ", scripts, re.MULTILINE)
    serve = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    given = serve.make_context(command, list(options)).params
    assert (given["host"], given["port"], given["ray"]) == ("0.0.0.0", 8000, False)
    assert given["media_dir"] == Path("/media")
    assert "/media" in [one.split(":")[1] for one in service["volumes"]]


def test_every_option_in_their_comments_is_one(service: Any) -> None:
    known = {name for one in typer.main.get_command(app).commands["serve"].params for name in one.opts}  # type: ignore[attr-defined]
    comments = re.findall(r"#(.*)", (ROOT / "compose.yaml").read_text())
    named = {word for line in comments for word in re.findall(r"(?<!\S)--[a-z-]+", line)} - {"--build"}
    assert named
    assert named <= known


def test_the_image_holds_what_is_installed_and_nothing_else(steps: list[tuple[str, str]]) -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for name, rest in steps if name == "COPY" for source in shlex.split(rest)[:-1]}
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)
    assert ".dockerignore" not in copied
    heavy = [path for path in (ROOT / "src").rglob("*") if path.is_file() and path.stat().st_size > 2**20]
    assert all(path.is_relative_to(ROOT / "src/rushes/demo/pair") for path in heavy), "no weights but the bundled pair"


def test_it_runs_as_nobody_in_particular(steps: list[tuple[str, str]], service: Any) -> None:
    user = only(steps, "USER")
    assert user not in ("root", "0")
    assert any(name == "RUN" and f"useradd --uid 10001 --create-home {user}" in rest for name, rest in steps)
    assert [name for name, _ in steps].index("USER") < [name for name, _ in steps].index("ENTRYPOINT")
    assert service["read_only"] is True
    assert service["tmpfs"][0].startswith("/tmp")
    assert service["mem_limit"]


def test_the_key_is_asked_for_under_the_name_that_the_server_reads(service: Any) -> None:
    ((name, value),) = service["environment"].items()
    assert value.startswith(f"${{{name}:?"), "without one nothing starts"
    assert f'os.environ.get("{name}")' in (ROOT / "src/rushes/cli_serve.py").read_text()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_asks_the_server(steps: list[tuple[str, str]], status: int, healthy: bool) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    words = only(steps, "HEALTHCHECK").partition("CMD ")[2]
    _, option, code = json.loads(words)
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        code = code.replace(f":{only(steps, 'EXPOSE')}/", f":{server.server_port}/")
        assert str(server.server_port) in code
        ended = subprocess.run([sys.executable, option, code], capture_output=True, timeout=60, check=False)
    assert (ended.returncode == 0) is healthy
    assert '@app.get("/health")' in (ROOT / "src/rushes/serve/app.py").read_text()
