"""A hostile file ends in a 4xx and takes down no more than the process that decodes it, of which nothing is left."""

import asyncio
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Coroutine
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from rushes.serve.limits import MIB, Limits
from rushes.serve.refusals import Refusal
from rushes.serve.sandbox import Sandbox
from rushes.video import MAX_PIXELS, Sampling, read_video, write_video
from test_video import grey_levels, mux, noise, write_sound


def video(data: bytes, sampling: Sampling | None = None, **limits: Any) -> Any:
    return asyncio.run(Sandbox(Limits(**limits)).read_video(data, sampling or Sampling(), "the field"))


def image(data: bytes, **limits: Any) -> np.ndarray:
    return asyncio.run(Sandbox(Limits(**limits)).read_image(data, "the field"))


def refusal(call: Callable[[], Any]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        call()
    assert caught.value.param == "the field"
    assert caught.value.status in (400, 413)
    assert "/" not in caught.value.message  # no path
    return caught.value


def read_or_refused(call: Callable[[], Any]) -> int:
    """200, or the status of the refusal."""
    try:
        call()
    except Refusal as error:
        return error.status
    return 200


def odd(act: bytes, kind: str = "video", **limits: Any) -> Any:
    """What comes of a child that does something else than to decode."""
    sandbox = Sandbox(Limits(**limits), child="odd_child")
    return asyncio.run(
        sandbox.read_video(act, Sampling(), "the field") if kind == "video" else sandbox.read_image(act, "the field")
    )


def children() -> set[int]:
    """Processes below this one, those included that nobody has waited for."""
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    processes, files = children(), len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    yield
    assert children() == processes
    assert list(folder.iterdir()) == []
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) <= files


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_video(path, noise(30), 10)
    return path


# --- what is read -----------------------------------------------------------------------------------------------


def test_a_video_is_read_as_without_a_sandbox(clip: Path) -> None:
    sampling = Sampling(fps=np.float64(3.0), max_pixels=1000)
    here, there = read_video(clip, sampling), video(clip.read_bytes(), sampling)
    assert there.frames.dtype == np.uint8
    assert np.array_equal(there.frames, here.frames)
    assert there.frame_indices.tolist() == here.frame_indices.tolist()
    assert there.timestamps_s.tolist() == here.timestamps_s.tolist()
    for name in ("source_fps", "total_frames", "duration_s", "notes", "sampled_fps"):
        assert getattr(there, name) == getattr(here, name)
    there.frames[0] = 0  # belongs to whoever asked


def encoded(picture: Image.Image, form: str, **options: Any) -> bytes:
    file = BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def test_images_of_every_format() -> None:
    pixels = grey_levels(1)[0]
    pixels[:20, :30] = (200, 10, 10)
    for form in ("JPEG", "PNG", "WEBP", "GIF", "BMP"):
        seen = image(encoded(Image.fromarray(pixels), form))
        assert seen.shape == (48, 64, 3)
        assert seen.dtype == np.uint8
        assert np.abs(seen.astype(int) - pixels).mean() < 4
    assert "not a JPEG" in refusal(lambda: image(encoded(Image.fromarray(pixels), "TIFF"))).message


def test_images_are_upright_opaque_and_of_eight_bits() -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20] = 250
    tag = Image.Exif()
    tag[0x0112] = 6  # to be turned clockwise by a quarter
    turned = image(encoded(Image.fromarray(pixels), "JPEG", exif=tag, quality=95)).astype(int)
    assert np.abs(turned - np.rot90(pixels, -1)).mean() < 3
    clear = Image.fromarray(np.dstack([pixels, np.zeros((40, 60), np.uint8)]))
    assert (image(encoded(clear, "PNG")) == 255).all()
    deep = Image.fromarray((np.arange(2400).reshape(40, 60) * 27).astype(np.uint16))
    assert image(encoded(deep, "PNG"))[-1, -1].tolist() == [2399 * 27 // 257] * 3


def test_only_the_first_frame_of_an_animation() -> None:
    frames = [Image.fromarray(frame) for frame in grey_levels(6)]
    seen = image(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert np.abs(seen.astype(int) - 16).max() < 4


# --- hostile videos ---------------------------------------------------------------------------------------------


def patched(data: bytes, box: bytes, offset: int, values: bytes) -> bytes:
    """Bytes of an MP4 with others `offset` behind the name of a box."""
    at = data.index(box) + 4 + offset
    return data[:at] + values + data[at + len(values) :]


def test_truncated_and_garbage(clip: Path) -> None:
    data = clip.read_bytes()
    assert "truncated" in refusal(lambda: video(data[: len(data) // 3])).message
    for bad in (b"", b"\0" * 5000, np.random.default_rng(0).bytes(5000), data[: len(data) // 50]):
        assert refusal(lambda bad=bad: video(bad)).status == 400


def test_sound_images_and_playlists_are_no_videos(tmp_path: Path, clip: Path) -> None:
    files = [write_sound(tmp_path / "a.m4a").read_bytes(), encoded(Image.fromarray(noise(1)[0]), "PNG")]
    files += [
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{clip}\n#EXT-X-ENDLIST\n".encode(),
        f"ffconcat version 1.0\nfile '{clip}'\n".encode(),
        b"v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        f'<?xml version="1.0"?><MPD><Period><BaseURL>{clip}</BaseURL></Period></MPD>'.encode(),
        b"hello world\n" * 200,
    ]
    for data in files:
        refused = refusal(lambda data=data: video(data))
        assert refused.status == 400
        assert "clip" not in refused.message


def test_a_few_bytes_that_claim_millions_of_frames(clip: Path) -> None:
    data = patched(clip.read_bytes(), b"stsz", 4, struct.pack(">II", 1, 50_000_000))
    data = patched(data, b"stts", 4, struct.pack(">III", 1, 50_000_000, 1))
    refused = refusal(lambda: video(data))
    assert refused.status == 413
    assert "frames" in refused.message


def test_thousands_of_frames_in_a_small_file(tmp_path: Path) -> None:
    path = mux(tmp_path / "a.mkv", grey_levels(1500, 16, 16), pts=list(range(1500)), time_base=Fraction(1, 1000))
    assert len(path.read_bytes()) < 100_000
    refused = refusal(lambda: video(path.read_bytes(), duration_s=5))
    assert refused.status == 413
    assert "240 for each second" in refused.message
    assert "768 frames would be taken from the video; the limit is 20" in (
        refusal(lambda: video(path.read_bytes(), Sampling(fps=600), frames=20)).message
    )


def test_absurd_dimensions(tmp_path: Path) -> None:
    frames = [Image.fromarray(frame) for frame in grey_levels(3)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    for side in (8000, 65_535):
        wide = data[:6] + struct.pack("<HH", side, side) + data[10:]
        refused = refusal(lambda wide=wide: image(wide))
        assert refused.status == 413
        assert "more than 50,000,000 pixels" in refused.message
        assert refusal(lambda wide=wide: video(wide)).status == (413 if side == 8000 else 400)  # libav's own limit
    path = mux(tmp_path / "a.avi", np.zeros((2, 2400, 4096, 3), np.uint8), codec="mjpeg", pix_fmt="yuvj420p")
    refused = refusal(lambda: video(path.read_bytes()))
    assert refused.status == 413
    assert "4096x2400" in refused.message


@pytest.mark.parametrize(("name", "options"), [("a.mp4", {}), ("a.mkv", {}), ("a.mkv", {"live": "1"}), ("a.ts", {})])
def test_durations_without_end(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    """With a duration in the header, and in streams that are made not to state one."""
    path = mux(
        tmp_path / name,
        grey_levels(8),
        pts=[1000 * second for second in range(0, 8000, 1000)],
        time_base=Fraction(1, 1000),
        bf="0",
        container_options=options,
    )
    refused = refusal(lambda: video(path.read_bytes()))
    assert refused.status == 413
    assert "the limit is 3600 s" in refused.message


def test_a_header_that_lies_about_the_duration(tmp_path: Path) -> None:
    data = mux(tmp_path / "a.mkv", grey_levels(8)).read_bytes()
    for duration_ms in (1e9, 1e300, float("inf"), float("nan"), -1e9):
        lying = patched(data, b"\x44\x89\x88", -1, struct.pack(">d", duration_ms))
        assert read_or_refused(lambda lying=lying: video(lying)) in (200, 400, 413)
    assert (
        "lasts 1,000,000 s"
        in refusal(lambda: video(patched(data, b"\x44\x89\x88", -1, struct.pack(">d", 1e9)))).message
    )


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(spots=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=40)), min_size=1, max_size=6))
def test_a_damaged_video_is_read_or_refused(clip: Path, spots: list[tuple[float, bytes]]) -> None:
    data = bytearray(clip.read_bytes())
    for place, values in spots:
        at = int(place * (len(data) - len(values)))
        data[at : at + len(values)] = values
    assert read_or_refused(lambda: video(bytes(data), decoding_s=20)) in (200, 400, 413)


# --- hostile images ---------------------------------------------------------------------------------------------


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in (header, *chunks, (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + body


def test_image_bombs() -> None:
    zeros = zlib.compress(bytes(20 * MIB), 9)
    for side in (8000, 30_000, 2**31 - 1):
        refused = refusal(lambda side=side: image(png(side, side, (b"IDAT", zeros))))
        assert refused.status == 413
    text = (b"zTXt", b"a\0\0" + zlib.compress(bytes(100 * MIB), 9))
    profile = (b"iCCP", b"a\0\0" + zlib.compress(bytes(100 * MIB), 9))
    for chunk in (text, profile):
        small = png(8, 8, chunk, (b"IDAT", zlib.compress(bytes(16))))
        assert read_or_refused(lambda small=small: image(small, decoding_bytes=500 * MIB)) in (200, 400, 413)
    tile = encoded(Image.new("P", (8, 8)), "GIF")
    at = tile.index(b"\x2c") + 5  # a frame larger than its canvas
    assert refusal(lambda: image(tile[:at] + b"\xff\xff\xff\xff" + tile[at + 4 :])).status in (400, 413)


def test_damaged_images() -> None:
    whole = encoded(Image.fromarray(noise(1)[0]), "JPEG")
    assert "truncated or damaged" in refusal(lambda: image(whole[: len(whole) // 2])).message
    for data in (b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBPVP8 ", b"BM" + bytes(60)):
        assert refusal(lambda data=data: image(data)).status == 400


# --- the process ------------------------------------------------------------------------------------------------


def test_too_little_memory(tmp_path: Path) -> None:
    path = mux(tmp_path / "a.mp4", np.zeros((4, 2304, 4096, 3), np.uint8), codec="mpeg4")
    refused = refusal(lambda: video(path.read_bytes(), decoding_bytes=250 * MIB))
    assert refused.status == 413
    assert "250 MiB of memory" in refused.message


def test_too_little_time() -> None:
    refused = refusal(lambda: odd(b"hang", decoding_s=1))
    assert refused.status == 413
    assert "takes more than 1 s" in refused.message
    assert "takes more than" in refusal(lambda: odd(b"kill %d" % signal.SIGXCPU)).message


def test_children_that_die() -> None:
    for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL):
        refused = refusal(lambda number=number: odd(b"kill %d" % number))
        assert refused.status == 400
        assert "cannot be decoded" in refused.message
    assert "memory" in refusal(lambda: odd(b"kill %d" % signal.SIGKILL)).message
    assert refusal(lambda: odd(b"exit 3")).status == 400
    with pytest.raises(Refusal) as caught:
        odd(b"exit 1")  # Python's own: the decoder is broken, not the file
    assert caught.value.status == 500


FIELDS: dict[str, Any] = {"status": "done", "shape": [1, 2, 2, 3], "source_fps": 1.0, "total_frames": 1}
FIELDS |= {"duration_s": 1.0, "notes": []}
BODY = struct.pack("<qd", 0, 0.0) + bytes(12)


def answer(body: bytes = BODY, **changes: Any) -> bytes:
    return b"answer " + json.dumps(FIELDS | changes).encode() + b"\n" + body


def test_a_child_that_answers_by_the_rules() -> None:
    assert odd(answer()).frames.tolist() == np.zeros((1, 2, 2, 3)).tolist()
    assert odd(answer(notes=["one\ntwo\x1b[2J", 3])).notes == ("one two [2J",)


@pytest.mark.parametrize(
    "act",
    [
        b"answer ",
        b"answer \n",
        b"answer []\n",
        b"answer " + b"[" * 60_000 + b"\n",
        b"answer " + b" " * 70_000 + b"{}\n",
        b"answer {}\n",
        answer(status="finished"),
        answer(status="refused"),
        answer(BODY[:-1]),
        answer(shape=[1, 2, 2]),
        answer(shape=[1, 2, 2, 4]),
        answer(shape=[10**9, 10**9, 10**9, 3]),
        answer(shape=[-1, -2, 2, 3]),
        answer(shape=[True, 2, 2, 3]),
        answer(source_fps=float("nan")),
        answer(duration_s=-1),
        answer(total_frames=0),
        answer(struct.pack("<qd", -1, 0.0) + bytes(12)),
        answer(struct.pack("<qd", 0, float("inf")) + bytes(12)),
        answer(bytes(48) + bytes(24), shape=[2, 2, 2, 3]),
        answer(BODY + bytes(3 * MIB)),
        b"answer \x80\x04\x95\n",
    ],
)
def test_a_child_that_was_taken_over(act: bytes) -> None:
    refused = refusal(lambda: odd(act, frames=1, pixels=1000))
    assert refused.status == 400
    assert "cannot be decoded" in refused.message


def test_a_child_knows_nothing_of_its_parent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("PYTHONSTARTUP", "x")
    (tmp_path / "av.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    found = told(b"tell")
    assert set(found["names"]) <= {
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_ARENA_MAX", "LC_CTYPE"),
        *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
    }
    assert found["session"]
    assert len(found["fds"]) == 6  # the three of every process, the file, the result, and the folder that lists them
    assert refusal(lambda: video(b"")).status == 400


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.02)


def test_cancelling_ends_the_process() -> None:
    async def run() -> None:
        before = children()
        sandbox = Sandbox(Limits(), child="odd_child")
        for delay_s in (0, 0.005, 0.2):
            task = asyncio.create_task(sandbox.read_video(b"hang", Sampling()))
            await asyncio.sleep(delay_s)
            if delay_s == 0.2:
                await until(lambda: children() > before)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert children() == before

    asyncio.run(run())


def test_as_many_at_once_as_there_are_workers() -> None:
    async def run() -> list[int]:
        sandbox, before, seen = Sandbox(Limits(), workers=2, child="odd_child"), children(), [0]
        tasks = [asyncio.create_task(sandbox.read_image(b"nap ")) for _ in range(5)]
        while not all(task.done() for task in tasks):
            seen.append(len(children() - before))
            await asyncio.sleep(0.02)
        results: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(result) for result in results] == ["slept"] * 5
        return seen

    assert max(asyncio.run(run())) == 2


def test_real_ones_in_parallel(clip: Path) -> None:
    async def run() -> list[Any]:
        sandbox, data = Sandbox(Limits(), workers=3), clip.read_bytes()
        calls: list[Coroutine[Any, Any, Any]] = [sandbox.read_video(data, Sampling(num_frames=n)) for n in (1, 2, 3, 4)]
        return await asyncio.gather(*calls, sandbox.read_video(b"x", Sampling()), return_exceptions=True)

    results = asyncio.run(run())
    assert [len(result.frames) for result in results[:4]] == [1, 2, 3, 4]
    assert isinstance(results[4], Refusal)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a signal at the death of a parent")
def test_a_process_does_not_outlive_its_parent() -> None:
    program = (
        "import asyncio; from rushes.serve.sandbox import Sandbox; from rushes.serve.limits import Limits\n"
        "asyncio.run(Sandbox(Limits(), child='odd_child').read_image(b'stay '))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(place for place in sys.path if place)}
    parent = subprocess.Popen([sys.executable, "-c", program], env=environment)
    child = None
    try:
        end = time.monotonic() + 30
        while child is None and time.monotonic() < end:
            children = psutil.Process(parent.pid).children()
            child = next((child for child in children if child.num_threads() == 1 and sleeps(child)), None)
            time.sleep(0.02)
    finally:
        parent.kill()
        parent.wait()
    assert child is not None
    assert not psutil.wait_procs([child], timeout=20)[1]


def sleeps(process: psutil.Process) -> bool:
    """Is it through with its imports?"""
    before = process.cpu_times().user
    time.sleep(0.3)
    return process.status() == psutil.STATUS_SLEEPING and process.cpu_times().user == before > 0


def told(act: bytes, **limits: Any) -> dict[str, Any]:
    with pytest.raises(Refusal) as caught:
        odd(act, **limits)
    return json.loads(caught.value.message)


def test_the_limits_of_the_process() -> None:
    names = b"limits RLIMIT_AS RLIMIT_CPU RLIMIT_CORE RLIMIT_FSIZE"
    limits = told(names, decoding_bytes=999 * MIB, decoding_s=20, frames=2)
    assert limits["RLIMIT_AS"] == [999 * MIB] * 2 or sys.platform != "linux"
    assert limits["RLIMIT_CORE"] == [0, 0]
    assert 20 < limits["RLIMIT_CPU"][0] < limits["RLIMIT_CPU"][1] < 40
    assert limits["RLIMIT_FSIZE"] == [2 * (3 * MAX_PIXELS + 16) + 2**16] * 2


def test_the_process_starts_without_the_heavy_packages() -> None:
    program = "import sys, rushes.serve.decoding_child; print({'torch', 'transformers'} & set(sys.modules))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(place for place in sys.path if place)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    assert done.stdout == b"set()\n"
