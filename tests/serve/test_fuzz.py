"""Whatever is sent, the real server answers with a documented 4xx or rightly, and goes on answering."""

import asyncio
import json
import re
import socket
import struct
import time
from base64 import b64encode
from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from PIL import Image
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS

from rushes import Pair
from rushes.bench.exchange import Exchange, exchange, get, loopback, post
from rushes.bench.load_client import refusal_faults
from rushes.demo import bundled
from rushes.demo.held_out import held_out_clip, write_clip
from serve.running import Running, asked, data_url, running, video_part
from test_video import grey_levels, mux

pytestmark = pytest.mark.xdist_group("serve")
MODEL, QUESTION = "rushes-demo", "Describe the video in detail."
# Left out: positive_data_acceptance, because limits (of this server: 16 tokens), marks of pictures in a text, media
# that cannot be fetched and what is known yet not done are refused, all of which no schema can say.
EXCLUDED = {"positive_data_acceptance"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(held_out_clip(1, 2, 1.0), tmp_path_factory.mktemp("media") / "clip.mp4")


@pytest.fixture(scope="module")
def pair() -> Pair:
    return bundled.pair()


@pytest.fixture(scope="module")
def server(clip: Path, pair: Pair) -> Iterator[Running]:
    """After all that is done to it here it is still there, has not failed once and says what the library says."""
    with running("--max-tokens", "16", "--max-body-mib", "2", "--max-seconds", "60", "--queue", "8") as made:
        yield made
        health = requests.get(f"{made.address}/health", timeout=10)
        assert health.json() == {"status": "ok"}
        answer = made.client().chat.completions.create(model=MODEL, messages=asked(data_url(clip), QUESTION))  # type: ignore[arg-type]
        assert answer.choices[0].message.content == pair.generate(clip, QUESTION, max_new_tokens=16).text
        assert made.metrics()["rushes_num_requests_running"] == 0
        assert not [line for line in made.log if "traceback" in line.lower()]
        assert made.process.poll() is None


# --- from its own description -----------------------------------------------------------------------------------

OPERATIONS = {
    "POST /v1/chat/completions": list(GenerationMode),
    "GET /v1/models/{name}": [GenerationMode.POSITIVE],  # every text is a name
    "GET /v1/models": [GenerationMode.POSITIVE],
    "GET /v1/methods": [GenerationMode.POSITIVE],
    "GET /health": [GenerationMode.POSITIVE],
    "GET /metrics": [GenerationMode.POSITIVE],
}


@pytest.fixture(scope="module")
def operations(server: Running) -> dict[str, Any]:
    """What /openapi.json says, with the one name that the model can have: no other gets beyond a 404."""
    description = requests.get(f"{server.address}/openapi.json", timeout=10).json()
    description["components"]["schemas"]["ChatRequest"]["properties"]["model"] = {"const": MODEL}
    api = schemathesis.openapi.from_dict(description)
    api.config.update(base_url=server.address)
    found = [result.ok() for result in api.get_all_operations()]
    return {f"{operation.method.upper()} {operation.path}": operation for operation in found}


def test_all_operations_are_tried(operations: dict[str, Any]) -> None:
    assert operations.keys() == OPERATIONS.keys()


@pytest.mark.parametrize(("name", "mode"), [(name, mode) for name, modes in OPERATIONS.items() for mode in modes])
def test_every_operation_keeps_to_its_description(operations: dict[str, Any], name: str, mode: GenerationMode) -> None:
    known = {check.__name__: check for check in CHECKS.get_all()}
    excluded = [known[name] for name in EXCLUDED]
    statuses: set[int] = set()

    @settings(
        max_examples=25 if "chat" in name else 10,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operations[name].as_strategy(generation_mode=mode))
    def attack(case: Any) -> None:
        response = case.call(timeout=60)
        statuses.add(response.status_code)
        assert response.status_code < 500
        case.validate_response(response, excluded_checks=excluded)

    attack()
    if "chat" in name:
        assert (200 in statuses) is (mode is GenerationMode.POSITIVE)


# --- by hand ----------------------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}


def raw(server: Running, sent: bytes, timeout_s: float = 20, pause_s: float = 0) -> bytes:
    """All that comes until the server hangs up; sent in two halves if there is to be a pause."""
    place, got = loopback(server.address), b""
    with socket.create_connection(place, timeout=timeout_s) as client:
        try:
            client.sendall(sent[: len(sent) // 2] if pause_s else sent)
            if pause_s:
                time.sleep(pause_s)
                client.sendall(sent[len(sent) // 2 :])
            while piece := client.recv(2**16):
                got += piece
        except ConnectionError:  # it hung up while there was more to read
            pass
    return got


def asking(server: Running, sent: bytes) -> Exchange:
    """What becomes of a request, which says no more than it should."""
    made = asyncio.run(exchange(loopback(server.address), sent))
    assert made.whole, made
    assert made.status < 500, made
    if made.status >= 400:
        assert refusal_faults(made) == []
    return made


def told(made: Exchange) -> str:
    return str(json.loads(made.body)["error"]["message"])


def with_(**fields: Any) -> bytes:
    return post(json.dumps(GOOD | fields).encode())


def literally(**fields: str) -> bytes:
    """Fields as they are to be in the JSON."""
    body = json.dumps(GOOD)[:-1] + "".join(f', "{name}": {value}' for name, value in fields.items()) + "}"
    return post(body.encode())


BAD_BODIES: dict[str, tuple[bytes, int]] = {
    "nothing": (post(b""), 400),
    "invalid UTF-8": (post(json.dumps(GOOD).encode().replace(b"Hello", b"\xc3\x28")), 400),
    "half an object": (post(json.dumps(GOOD).encode()[:-5]), 400),
    "null": (post(b"null"), 400),
    "a number beyond all": (post(b"1e999"), 400),
    "text": (post(b'"Hello"'), 400),
    "a list": (post(b"[]"), 400),
    "nested lists": (post(b"[" * 90_000), 400),
    "more nested lists": (post(b"[" * 200_000 + b"]" * 200_000), 413),
    "nested where anything goes": (literally(metadata='{"a":' + "[" * 20_000 + "]" * 20_000 + "}"), 400),
    "a million values": (literally(tools="[" + "0," * 900_000 + "0]"), 413),
    "many wrong messages": (post(b'{"model": "m", "messages": [' + b"0," * 90_000 + b"0]}"), 400),
    "many unknown fields": (literally(**{f"k{i}": "0" for i in range(50_000)}), 400),
    "more than a body may be": (with_(user="a" * 3 * 2**20), 413),
    "much text": (with_(messages=[{"role": "user", "content": "word " * 300_000}]), 400),
    "text as a form": (post(json.dumps(GOOD).encode(), "application/x-www-form-urlencoded"), 415),
    "plain text": (post(json.dumps(GOOD).encode(), "text/plain"), 415),
    "a file": (post(b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x"), 415),
    "an odd type": (post(json.dumps(GOOD).encode(), "\u00ff/;;;"), 415),
    "a lone surrogate": (with_(messages=[{"role": "user", "content": "a\ud800"}]), 400),
    "a surrogate for a name": (post(json.dumps(GOOD | {"\ud800": 1}).encode()), 400),
    "a surrogate to stop at": (with_(stop="\ud800"), 400),
    "a surrogate for a method": (with_(method="\ud800"), 400),
    "a surrogate for a URL": (with_(messages=asked("\ud800", "What?")), 400),
    "no temperature": (literally(temperature="NaN"), 400),
    "an endless temperature": (literally(temperature="1e999"), 400),
    "hardly any temperature": (with_(temperature=1e-300), 400),
    "no penalty": (literally(repetition_penalty="NaN"), 400),
    "endless keep": (literally(keep="Infinity"), 400),
    "tokens without end": (literally(max_tokens="9" * 4000), 400),
    "digits without end": (literally(max_tokens="9" * 5000), 400),
    "no tokens": (with_(max_tokens=0), 400),
    "less than no tokens": (with_(max_tokens=-1), 400),
    "tokens and a half": (with_(max_tokens=1.5), 400),
    "tokens in words": (with_(max_tokens="2"), 400),
    "a true count": (with_(max_tokens=True), 400),
    "a window without end": (with_(gamma=10**30), 400),
    "a seed without end": (with_(seed=2**63), 400),
    "frames without end": (with_(media_io_kwargs={"video": {"num_frames": 10**18}}), 400),
    "frames and a rate": (with_(media_io_kwargs={"video": {"num_frames": 2, "fps": 1.0}}), 400),
    "a method without end": (with_(method="x" * 100_000), 400),
    "a recipe without end": (with_(method="+".join(["hippo"] * 1000)), 400),
    "a stop text of nothing": (with_(stop=""), 400),
    "too many stop texts": (with_(stop=["a"] * 17), 400),
    "another model": (with_(model="gpt"), 404),
    "no model": (post(json.dumps({"messages": GOOD["messages"]}).encode()), 400),
    "no messages": (with_(messages=[]), 400),
    "an empty message": (with_(messages=[{"role": "user", "content": " "}]), 400),
    "the mark of a video": (with_(messages=[{"role": "user", "content": "<|video_pad|>"}]), 400),
    "a part of no kind": (with_(messages=[{"role": "user", "content": [{"type": "audio"}]}]), 400),
    "a file of ours": (with_(messages=asked("file:///etc/passwd", "What?")), 400),
    "an address of ours": (with_(messages=asked("https://127.0.0.1/", "What?")), 400),
    "a length without end": (post(b"{}", length=10**11), 413),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_bodies(server: Running, name: str) -> None:
    sent, status = BAD_BODIES[name]
    made = asking(server, sent)
    assert made.status == status, made
    assert len(told(made)) < 600


def test_a_refusal_names_the_field_as_the_body_has_it(server: Running) -> None:
    messages = [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": 7}}]}]
    assert told(asking(server, with_(messages=messages))).startswith("messages[0].content[0].video_url.url: ")
    assert told(asking(server, with_(stop=["a"] * 17))).startswith("stop: list should have at most 16 items")
    assert told(asking(server, with_(messages=[{"role": "user"}]))).startswith("messages[0].content: ")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/health", "/metrics", "/v1/models", "/v1/models/a", "/"])
def test_wrong_methods(server: Running, method: str, path: str) -> None:
    made = asking(server, get(path).replace(b"GET", method.encode(), 1))
    right = {"GET"} if "chat" not in path else {"POST"}
    assert made.status == 405 if method not in right else made.status in (200, 404)
    if made.status == 405:
        assert set(made.headers["allow"].split(", ")) == right


@pytest.mark.parametrize(
    "path",
    [
        "/page/../app.py",
        "/page/..%2fapp.py",
        "/page/%2e%2e/%2e%2e/run.py",
        "/page/..%5c..%5capp.py",
        "/page/%2fetc%2fpasswd",
        "/page/__init__.py",
        "/page/page.css%00",
        "/page/%ff%fe",
        "//etc/passwd",
        "/static/../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/v1/models/..%2f..%2fetc%2fpasswd",
        "/v1/models/%00",
        "/v1/models/" + "a" * 30_000,
        "/docs",
    ],
)
def test_there_is_no_way_to_other_files(server: Running, path: str) -> None:
    made = asyncio.run(exchange(loopback(server.address), get(path)))
    assert (made.status, made.whole) == (404, True)
    assert b"root:" not in made.body
    assert b"import" not in made.body


HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
NO_HTTP: dict[str, bytes] = {
    "noise": bytes(range(128, 256)) * 20 + b"\r\n\r\n",
    "a TLS client": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "another protocol": b"EHLO example\r\n\r\n",
    "a length below nothing": HEAD + b"Content-Length: -5\r\n\r\n{}",
    "a length of too many digits": HEAD + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n{}",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "an unknown coding": HEAD + b"Transfer-Encoding: junk\r\n\r\n{}",
    "a chunk of no size": HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}",
    "a header that is too long": b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 2**20 + b"\r\n\r\n",
    "too many headers": b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X-A: a\r\n" * 50_000 + b"\r\n",
    "a path that is too long": b"GET /" + b"a" * 2**20 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", NO_HTTP)
def test_what_is_no_http_gets_a_400_or_is_hung_up_on(server: Running, name: str) -> None:
    statuses = re.findall(rb"^HTTP/1.1 (\d+)", raw(server, NO_HTTP[name]), re.M)
    assert statuses in ([b"400"], [b"413"], [])  # none where it came while there was more to read


def test_garbage_behind_good_requests_on_one_connection(server: Running) -> None:
    good = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    for garbage in (
        b"\x00\xff\xfe" * 50 + b"\r\n\r\n",
        HEAD + b"Content-Length: 2\r\n\r\n{]" + b"\x00" * 99 + b"\r\n\r\n",
    ):
        statuses = re.findall(rb"HTTP/1.1 (\d+)", raw(server, good * 3 + garbage))
        assert statuses[:3] == [b"200"] * 3
        assert set(statuses[3:]) <= {b"400"}


def test_a_body_in_pieces_without_an_end_is_cut_off(server: Running) -> None:
    """Of 2 MiB at most are taken; nobody could send them all."""
    piece = b"10000\r\n" + b" " * 2**16 + b"\r\n"
    got = raw(server, HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + piece * 200)
    assert got == b"" or got.startswith(b"HTTP/1.1 413 ")


def test_headers_and_bodies_in_small_steps_are_put_together(server: Running) -> None:
    made = raw(server, with_(), pause_s=0.3)
    assert made.startswith(b"HTTP/1.1 200 ")


def test_a_web_socket_is_not_opened(server: Running) -> None:
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    upgrade = b"Upgrade: websocket\r\nConnection: Upgrade, close\r\n"
    got = raw(server, HEAD.replace(b"POST", b"GET") + key + upgrade + b"\r\n")
    assert got.startswith(b"HTTP/1.1 405 ")


# --- hostile media through the API ------------------------------------------------------------------------------


def about(data: bytes, kind: str = "video", form: str = "mp4") -> bytes:
    url = f"data:{kind}/{form};base64,{b64encode(data).decode()}"
    part = {"type": f"{kind}_url", f"{kind}_url": {"url": url}}
    return with_(messages=[{"role": "user", "content": [part, {"type": "text", "text": QUESTION}]}])


def test_truncated_and_damaged_videos(server: Running, clip: Path) -> None:
    data = clip.read_bytes()
    statuses = [asking(server, about(data[: int(len(data) * share)])).status for share in (0.001, 0.02, 0.5, 0.99)]
    assert statuses[:2] == [400, 400]
    assert set(statuses) <= {200, 400}
    chance = np.random.default_rng(0)
    for _ in range(2):
        damaged = bytearray(data)
        for at in chance.integers(0, len(data), 40):
            damaged[at] ^= 0xFF
        assert asking(server, about(bytes(damaged))).status in (200, 400, 413)
    for noise in (b"", bytes(5000), chance.bytes(5000), b"hello world\n" * 200):
        assert asking(server, about(noise)).status == 400


def test_bombs_of_frames_and_of_pixels(server: Running, clip: Path, tmp_path: Path) -> None:
    data = clip.read_bytes()
    for box, values in ((b"stsz", struct.pack(">II", 1, 50_000_000)), (b"stts", struct.pack(">III", 1, 50_000_000, 1))):
        at = data.index(box) + 8
        data = data[:at] + values + data[at + len(values) :]
    assert asking(server, about(data)).status == 413
    many = mux(tmp_path / "a.mkv", grey_levels(1500, 16, 16), pts=list(range(1500)), time_base=Fraction(1, 1000))
    assert asking(server, about(many.read_bytes(), form="x-matroska")).status in (200, 413)
    pts = [20_000 * i for i in range(8)]
    long = mux(tmp_path / "b.mkv", grey_levels(8), pts=pts, time_base=Fraction(1, 1000), bf="0")
    made = asking(server, about(long.read_bytes(), form="x-matroska"))
    assert made.status == 413
    assert "the limit is 60 s" in told(made)
    gif = Image.fromarray(grey_levels(1)[0])
    packed = BytesIO()
    gif.save(packed, "GIF")
    for side in (20_000, 65_535):
        wide = packed.getvalue()[:6] + struct.pack("<HH", side, side) + packed.getvalue()[10:]
        assert asking(server, about(wide, "image", "gif")).status == 413
        assert asking(server, about(wide, "video", "gif")).status in (400, 413)


def test_many_media_and_playlists(server: Running, clip: Path) -> None:
    part = video_part(data_url(clip))
    content = [*[part] * 5, {"type": "text", "text": QUESTION}]
    assert "5 videos, the limit is 4" in told(asking(server, with_(messages=[{"role": "user", "content": content}])))
    playlist = f"#EXTM3U\n#EXTINF:1,\nfile://{clip}\n#EXT-X-ENDLIST\n".encode()
    made = asking(server, about(playlist, form="x-mpegurl"))
    assert made.status == 400
    assert clip.name not in told(made)


# --- what is right, at its edges --------------------------------------------------------------------------------


def answered(server: Running, clip: Path, **fields: Any) -> tuple[str, str]:
    """Text and reason, the same whole and as a stream."""
    fields = {"messages": asked(data_url(clip), QUESTION), "max_tokens": 16, **fields}
    whole, streamed = (asking(server, with_(stream=stream, **fields)) for stream in (False, True))
    assert streamed.text == whole.text
    reasons = [choice["finish_reason"] for event in streamed.events for choice in event["choices"]]
    assert reasons[:-1] == [None] * (len(reasons) - 1)
    assert reasons[-1] == json.loads(whole.body)["choices"][0]["finish_reason"]
    return whole.text, reasons[-1]


def test_wherever_a_stop_text_lies_the_answer_is_what_is_before_it(server: Running, pair: Pair, clip: Path) -> None:
    """Across tokens and across rounds, which end at other places for each method."""
    text = pair.generate(clip, QUESTION, max_new_tokens=16).text
    assert answered(server, clip) == (text, "length")
    for method in ("ar", "specvlm"):
        for at in range(0, len(text) - 9, 11):
            stop = text[at : at + 9]
            assert answered(server, clip, stop=[stop, "@"], method=method) == (text[: text.index(stop)], "stop")
    assert answered(server, clip, stop=["\U0001f600", "\u4e2d\u6587", text + "."]) == (text, "length")
    assert answered(server, clip, stop=text) == ("", "stop")


def test_one_token(server: Running, pair: Pair, clip: Path) -> None:
    assert answered(server, clip, max_tokens=1) == (pair.generate(clip, QUESTION, max_new_tokens=1).text, "length")


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 2, "top_p": 1e-300, "seed": 2**63 - 1},
        {"temperature": 1, "top_k": 10**30},
        {"repetition_penalty": 1e300},
        {"repetition_penalty": 1e-300},
        {"keep": 0, "gamma": 1024, "method": "sd"},
        {"keep": 5e-324},
        {"stop": "a" * 10**6},
        {"user": "\u0000", "metadata": {"a": [[[]]]}},
        {"media_io_kwargs": {"video": {"fps": 1e308}}},
        {"media_io_kwargs": {"video": {"fps": 5e-324}}},
        {"media_io_kwargs": {"video": {"num_frames": 1}}},
        {"method": "hippo:crop=99999999"},
    ],
)
def test_extreme_values_are_answered_or_refused(server: Running, clip: Path, fields: dict[str, Any]) -> None:
    made = asking(server, with_(messages=asked(data_url(clip), QUESTION), **fields))
    assert made.status in (200, 400)
