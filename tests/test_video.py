"""Videos are read frame-exactly, in bounded memory, and every bad file ends in one clear line."""

import gc
import io
import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from rushes import video as video_module
from rushes import video_probe, video_write
from rushes.errors import RushesError
from rushes.video import Sampling, Video, read_video, write_video
from rushes.video_bounds import OverBounds, VideoBounds


def grey_levels(count: int, height: int = 48, width: int = 64) -> np.ndarray:
    """(T, H, W, 3): frame i is grey with level 16 + 200 i / count."""
    levels = (16 + 200 * np.arange(count) / count).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3)).copy()


def noise(count: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def mux(
    path: Path,
    frames: np.ndarray,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    pts: list[int] | None = None,
    time_base: Fraction | None = None,
    rotation: int | None = None,
    container_options: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """A video file of any kind that libav writes, beyond what write_video offers."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pix_fmt
        if time_base is not None:
            stream.codec_context.time_base = time_base
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for index, array in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame.pts = index if pts is None else pts[index]
            if time_base is not None:
                frame.time_base = time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_sound(path: Path, cover: bool = False) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mp3" if path.suffix == ".mp3" else "aac", rate=44100)
        picture = None
        if cover:
            picture = container.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 32, 32, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 44100
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
        if picture is not None:
            container.mux(picture.encode(av.VideoFrame.from_ndarray(noise(1, 32, 32)[0], format="rgb24")))
            container.mux(picture.encode(None))
    return path


def refusal(path: Path | str, sampling: Sampling | None = None) -> str:
    with pytest.raises(RushesError) as caught:
        read_video(path, sampling)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return message


def assert_levels(video: Video, source: np.ndarray) -> None:
    wanted = source[video.frame_indices].astype(int)
    assert np.abs(video.frames.astype(int) - wanted).mean(axis=(1, 2, 3)).max() < 2.5


# --- sampling ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_frames": 4, "fps": 1.0}, "exclude each other"),
        ({"num_frames": 0}, "num_frames=0"),
        ({"num_frames": 2.5}, "num_frames=2.5"),
        ({"num_frames": True}, "num_frames=True"),
        ({"fps": 0}, "fps=0"),
        ({"fps": -1.0}, "fps=-1.0"),
        ({"fps": float("nan")}, "fps=nan"),
        ({"fps": "2"}, "fps='2'"),
        ({"min_frames": 0}, "min_frames=0"),
        ({"max_frames": 0}, "max_frames=0"),
        ({"min_frames": 8, "max_frames": 4}, "min_frames=8 is above max_frames=4"),
        ({"max_pixels": 10}, "at least 784"),
        ({"max_pixels": None}, "max_pixels=None"),
    ],
)
def test_sampling_refuses_what_makes_no_sense(arguments: dict, words: str) -> None:
    with pytest.raises(RushesError, match=words):
        Sampling(**arguments)


@pytest.fixture(scope="module")
def transformers_rule() -> Callable[..., list[int]]:
    from rushes._torchvision import ensure_torchvision

    ensure_torchvision()
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor
    from transformers.video_utils import VideoMetadata

    processor = Qwen2VLVideoProcessor()

    def indices(total: int, source_fps: float, **asked: float) -> list[int]:
        return processor.sample_frames(VideoMetadata(total_num_frames=total, fps=source_fps), **asked).tolist()

    return indices


def test_indices_are_those_of_transformers(transformers_rule: Callable[..., list[int]]) -> None:
    rng = np.random.default_rng(1)
    for total in [4, 5, 7, 60, 61, *rng.integers(4, 20_000, 300).tolist()]:
        source_fps = float(rng.choice([8.0, 24.0, 24000 / 1001, 25.0, 30000 / 1001, 30.0, 59.94]))
        fps = float(rng.choice([0.1, 0.5, 1.0, 2.0, 3.7, 30.0, 100.0]))
        ours = Sampling(fps=fps).indices(total, source_fps).tolist()
        theirs = transformers_rule(total, source_fps, fps=fps)
        # their float steps sometimes add one index, at the end
        assert len(theirs) - len(ours) in (0, 1)
        assert ours == theirs[: len(ours)], (total, source_fps, fps)
        even = 2 * int(rng.integers(1, min(total, 768) // 2 + 1))
        assert (
            Sampling(num_frames=even).indices(total, source_fps).tolist()
            == (transformers_rule(total, source_fps, num_frames=even)[:even])
        )


def test_counts() -> None:
    def count(total: int, source_fps: float = 30.0, **arguments: float) -> int:
        indices = Sampling(**arguments).indices(total, source_fps)
        assert indices.dtype == np.int64
        assert indices[0] == 0
        assert indices[-1] < total
        assert (np.diff(indices) > 0).all()
        return len(indices)

    assert count(300) == 20  # 2 per second unless told
    assert count(300, fps=0.01) == 4
    assert count(5) == 4
    assert count(3) == 3  # fewer than min_frames: all
    assert count(1) == 1
    assert count(100_000) == 768
    assert count(300, fps=0.7) == 6  # 7 rounded down to even
    assert count(300, fps=0.1, min_frames=1) == 1
    assert count(300, num_frames=7) == 7  # asked for: kept
    with pytest.raises(RushesError, match=r"13 frames were asked of a video that has 12; ask for at most 12"):
        count(12, num_frames=13)


# --- round trips ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", [30, 29.97, Fraction(24000, 1001), 2])
def test_content_survives_the_round_trip(tmp_path: Path, fps: float | Fraction) -> None:
    source = grey_levels(60)
    write_video(tmp_path / "a.mp4", source, fps)
    assert os.listdir(tmp_path) == ["a.mp4"]
    video = read_video(tmp_path / "a.mp4", Sampling(num_frames=20))
    assert video.frames.shape == (20, 48, 64, 3)
    assert video.frames.dtype == np.uint8
    assert video.frame_indices.tolist() == list(range(0, 60, 3))
    assert_levels(video, source)
    assert video.source_fps == pytest.approx(float(fps), rel=1e-6)
    assert video.total_frames == 60
    assert video.duration_s == pytest.approx(60 / float(fps))
    assert video.timestamps_s == pytest.approx(video.frame_indices / float(fps), abs=1e-3)
    assert video.notes == ()
    everything = read_video(tmp_path / "a.mp4", Sampling(num_frames=60))
    assert_levels(everything, source)


def test_sampled_fps_is_that_of_transformers(tmp_path: Path) -> None:
    from transformers.video_utils import VideoMetadata

    write_video(tmp_path / "a.mp4", grey_levels(70), 25)
    video = read_video(tmp_path / "a.mp4", Sampling(fps=1.5))
    assert len(video.frames) == 4
    metadata = VideoMetadata(
        total_num_frames=video.total_frames, fps=video.source_fps, frames_indices=video.frame_indices.tolist()
    )
    assert video.sampled_fps == pytest.approx(metadata.sampled_fps)
    assert video.sampled_fps == pytest.approx(4 / (70 / 25))


def test_colours_and_orientation_survive(tmp_path: Path) -> None:
    source = np.zeros((8, 64, 96, 3), np.uint8)
    source[:, :32, :48] = (220, 30, 30)
    source[:, 32:, 48:] = (30, 30, 220)
    write_video(tmp_path / "a.mp4", source, 8)
    frame = read_video(tmp_path / "a.mp4", Sampling(num_frames=1)).frames[0].astype(int)
    assert np.abs(frame[16, 24] - (220, 30, 30)).max() < 8
    assert np.abs(frame[48, 72] - (30, 30, 220)).max() < 8
    assert frame[48, 24].max() < 8


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "libx264"), ("a.webm", "libvpx-vp9"), ("a.avi", "mpeg4"), ("a.ts", "libx264"), ("a.mov", "mpeg4")],
)
def test_other_containers(tmp_path: Path, name: str, codec: str) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"no {codec}")
    source = grey_levels(30)
    options = {"deadline": "realtime"} if codec.startswith("libvpx") else {}
    video = read_video(mux(tmp_path / name, source, codec=codec, b="2M", **options), Sampling(num_frames=10))
    assert video.total_frames == 30
    assert video.source_fps == pytest.approx(30, rel=1e-3)
    assert_levels(video, source)


def test_fragmented_mp4_states_no_count(tmp_path: Path) -> None:
    source = grey_levels(30)
    path = mux(tmp_path / "a.mp4", source, g="10", container_options={"movflags": "frag_keyframe+empty_moov"})
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames != 30
    video = read_video(path, Sampling(num_frames=5))
    assert video.total_frames == 30
    assert_levels(video, source)


def test_one_frame_mp4_and_odd_names(tmp_path: Path) -> None:
    path = tmp_path / "clip: 1 %03d 'x'.mp4"
    write_video(path, grey_levels(1), 5)
    video = read_video(str(path))
    assert video.frames.shape == (1, 48, 64, 3)
    assert video.sampled_fps == 5


def test_odd_sizes(tmp_path: Path) -> None:
    source = grey_levels(6, 33, 51)
    path = mux(tmp_path / "a.mkv", source, codec="ffv1", pix_fmt="bgr0")
    video = read_video(path, Sampling(num_frames=3))
    assert video.frames.shape == (3, 33, 51, 3)
    assert_levels(video, source)


@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_rotation_is_undone(tmp_path: Path, rotation: int) -> None:
    stored = np.zeros((4, 48, 64, 3), np.uint8)
    stored[:, :24, :32] = 230  # top left of what is stored
    video = read_video(mux(tmp_path / "a.mp4", stored, rotation=rotation), Sampling(num_frames=2))
    upright = np.rot90(stored[0], rotation // 90)
    assert video.frames.shape == (2, *upright.shape)
    assert np.abs(video.frames[1].astype(int) - upright).mean() < 3


def test_variable_frame_rate_keeps_true_times(tmp_path: Path) -> None:
    source = grey_levels(12)
    pts_ms = [0, 40, 80, 120, 1000, 2000, 3000, 3040, 3080, 7000, 7500, 9000]
    for name in ("a.mp4", "a.mkv"):
        path = mux(tmp_path / name, source, pts=pts_ms, time_base=Fraction(1, 1000), bf="0")
        video = read_video(path, Sampling(num_frames=6))
        assert_levels(video, source)
        assert video.timestamps_s == pytest.approx(np.array(pts_ms)[video.frame_indices] / 1000, abs=0.002)
        assert 9 <= video.duration_s <= 10.6
        assert video.source_fps == pytest.approx(12 / video.duration_s)


# --- limits -----------------------------------------------------------------------------------------------------


def test_large_frames_are_reduced_and_noted(tmp_path: Path) -> None:
    source = grey_levels(4, 1080, 1920)
    write_video(tmp_path / "a.mp4", source, 4)
    video = read_video(tmp_path / "a.mp4")
    assert video.frames.shape == (4, 720, 1280, 3)
    assert video.notes == ("1920x1080 frames were reduced to 1280x720",)
    assert np.abs(video.frames[:, 5, 5, 0].astype(int) - source[:, 0, 0, 0]).max() < 4
    small = read_video(tmp_path / "a.mp4", Sampling(max_pixels=10_000))
    assert small.frames.shape[1] * small.frames.shape[2] <= 10_000
    assert small.frames.shape[2] / small.frames.shape[1] == pytest.approx(16 / 9, rel=0.03)


def test_rotated_large_frames_keep_their_proportions(tmp_path: Path) -> None:
    path = mux(tmp_path / "a.mp4", grey_levels(2, 200, 400), rotation=90)
    assert read_video(path, Sampling(max_pixels=20_000)).frames.shape[1:] == (200, 100, 3)


def test_max_frames_is_noted(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", grey_levels(100), 10)
    video = read_video(tmp_path / "a.mp4", Sampling(fps=5, max_frames=8))
    assert len(video.frames) == 8
    assert len(video.notes) == 1
    assert "50 frames; 8 were taken (max_frames=8)" in video.notes[0]
    # the video gives out, not the limit: nothing was capped
    assert read_video(tmp_path / "a.mp4", Sampling(fps=20, max_frames=100)).notes == ()


def test_absurd_sizes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.mp4", grey_levels(2), 2)
    monkeypatch.setattr(video_probe, "MAX_SIDE", 50)
    message = refusal(tmp_path / "a.mp4")
    assert "64x48" in message
    assert "50 pixels on a side" in message


def test_too_many_frames_asked(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", grey_levels(12), 6)
    assert "20 frames were asked of a video that has 12" in refusal(tmp_path / "a.mp4", Sampling(num_frames=20))


@pytest.mark.parametrize(
    ("bounds", "sampling", "words"),
    [
        ({"pixels": 64 * 48 - 1}, {}, "frames of the video are 64x48; the limit is 3,071 pixels"),
        ({"duration_s": 3.9}, {}, "the video lasts 4 s; the limit is 3.9 s"),
        ({"frames": 5}, {"num_frames": 6}, "6 frames would be taken from the video; the limit is 5"),
        ({"frames": 7}, {"fps": 2}, "8 frames would be taken from the video; the limit is 7"),
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_bounds_are_checked_before_anything_is_decoded(
    tmp_path: Path, name: str, bounds: dict, sampling: dict, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = mux(tmp_path / name, grey_levels(120))  # at 30 frames per second
    monkeypatch.setattr(video_module, "_decode", lambda *_: pytest.fail("something was decoded"))
    with pytest.raises(OverBounds) as caught:
        read_video(path, Sampling(**sampling), bounds=VideoBounds(**bounds), name="the video")
    assert words in str(caught.value)


def test_a_video_within_its_bounds_is_read(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", grey_levels(24), 6)
    bounds = VideoBounds(pixels=64 * 48, duration_s=4, frames=8, formats=("mp4",))
    assert len(read_video(tmp_path / "a.mp4", bounds=bounds).frames) == 8


def test_more_packets_than_a_duration_has_room_for(tmp_path: Path) -> None:
    path = mux(tmp_path / "a.mkv", grey_levels(300), pts=list(range(300)), time_base=Fraction(1, 1000), codec="mjpeg",
               pix_fmt="yuvj420p")  # fmt: skip
    with pytest.raises(OverBounds, match="holds more than 240 frames"):
        read_video(path, bounds=VideoBounds(duration_s=1))


def test_only_the_formats_within_bounds_are_opened(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", grey_levels(4), 4)
    with pytest.raises(RushesError, match="damaged"):
        read_video(tmp_path / "a.mp4", bounds=VideoBounds(formats=("matroska",)))


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 minutes, 3000 frames of 320x240: 690 MB when decoded to RGB."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    write_video(path, np.broadcast_to(grey_levels(1, 240, 320), (3000, 240, 320, 3)), 25)
    return path


def test_long_video_costs_the_memory_of_its_sample(long_video: Path) -> None:
    one_frame = 240 * 320 * 3
    tracemalloc.start()  # numpy reports its buffers to it
    video = read_video(long_video, Sampling(num_frames=8))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert video.frames.shape == (8, 240, 320, 3)
    assert video.total_frames == 3000
    assert peak < (8 + 4) * one_frame


def test_decoded_frames_are_let_go(long_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = []  # decoded frames in memory, whenever one is converted
    convert = video_module._rgb

    def counted(*arguments: Any) -> np.ndarray:
        alive.append(sum(isinstance(item, av.VideoFrame) for item in gc.get_objects()))
        return convert(*arguments)

    monkeypatch.setattr(video_module, "_rgb", counted)
    read_video(long_video, Sampling(num_frames=8))
    assert len(alive) == 8
    assert min(alive) >= 1
    assert max(alive) < 40  # what the decoder hands out at once, not the 2600 before the last wanted one


# --- bad files --------------------------------------------------------------------------------------------------


def test_what_is_not_a_readable_file(tmp_path: Path) -> None:
    assert "no file" in refusal(tmp_path / "missing.mp4")
    assert "is a directory" in refusal(tmp_path)
    (tmp_path / "empty.mp4").touch()
    assert "empty" in refusal(tmp_path / "empty.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    assert "not a regular file" in refusal(tmp_path / "pipe.mp4")
    assert "cannot be read" in refusal("a\0b.mp4")
    assert "cannot be read" in refusal("x" * 5000)
    assert "no file 'two\\nlines'" in refusal("two\nlines")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> io.BytesIO:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.mp4").write_bytes(b"x")
    monkeypatch.setattr(video_probe, "open", denied, raising=False)  # root may read everything: no chmod here
    assert "no permission to read" in refusal(tmp_path / "a.mp4")


@pytest.mark.parametrize("name", ["a.txt", "a.mp4", "a.srt", "a.m3u8", "a.ffconcat", "a.sdp"])
def test_text_is_not_a_video(tmp_path: Path, name: str) -> None:
    write_video(tmp_path / "real.mp4", grey_levels(2), 2)
    text = {
        "a.srt": "1\n00:00:00,000 --> 00:00:01,000\nhello\n",
        "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nreal.mp4\n#EXT-X-ENDLIST\n",
        "a.ffconcat": "ffconcat version 1.0\nfile 'real.mp4'\n",
    }.get(name, "hello world\n" * 200)
    (tmp_path / name).write_text(text)
    assert "not a video" in refusal(tmp_path / name)


def test_noise_is_not_a_video(tmp_path: Path) -> None:
    for seed in range(30):
        path = tmp_path / "a.mp4"
        path.write_bytes(np.random.default_rng(seed).bytes(1 << (seed % 15)))
        refusal(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.gif", "a.tiff", "a.avif", "png.mp4"])
def test_still_images_are_refused(tmp_path: Path, name: str) -> None:
    try:
        Image.fromarray(noise(1)[0]).save(tmp_path / name, format="png" if name == "png.mp4" else None)
    except (KeyError, OSError, ValueError):
        pytest.skip(f"pillow writes no {name}")
    assert "is an image, not a video" in refusal(tmp_path / name)


def test_animated_gif_is_a_video(tmp_path: Path) -> None:
    frames = [Image.fromarray(frame) for frame in grey_levels(6)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=100)
    video = read_video(tmp_path / "a.gif", Sampling(num_frames=3))
    assert_levels(video, grey_levels(6))
    assert video.source_fps == pytest.approx(10)


def test_sound_only(tmp_path: Path) -> None:
    assert "sound but no video" in refusal(write_sound(tmp_path / "a.m4a"))
    assert "sound but no video" in refusal(write_sound(tmp_path / "a.mp3", cover=True))


def test_no_frames(tmp_path: Path) -> None:
    for name, words in (("a.avi", "has no frames"), ("a.mp4", "no video track"), ("a.mkv", "truncated or not a video")):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("mpeg4", rate=30)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            container.start_encoding()
        assert words in refusal(tmp_path / name)


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    short = path.with_stem(f"cut{share}")
    short.write_bytes(data[: int(len(data) * share)])
    return short


def test_truncated_mp4_with_its_index_at_the_end(tmp_path: Path) -> None:
    path = mux(tmp_path / "a.mp4", noise(30))
    for share in (0.001, 0.1, 0.5, 0.95):
        message = refusal(cut(path, share))
        assert "truncated" in message


def test_truncated_mp4_with_its_index_in_front(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", noise(60), 30)
    for share in (0.05, 0.1, 0.3, 0.45):
        message = refusal(cut(tmp_path / "a.mp4", share))
        assert "of the 60 frames" in message
        assert "truncated" in message
    for share in (0.6, 0.8, 0.95):
        video = read_video(cut(tmp_path / "a.mp4", share), Sampling(num_frames=8))
        assert share * 60 - 6 < video.total_frames < 60
        assert video.source_fps == 30
        assert len(video.notes) == 1
        assert f"{video.total_frames} of 60" in video.notes[0]
        assert len(video.frames) == 8


def test_truncated_matroska(tmp_path: Path) -> None:
    path = mux(tmp_path / "a.mkv", noise(90), g="10")
    assert "truncated" in refusal(cut(path, 0.3))
    video = read_video(cut(path, 0.7))
    assert "announced frames" in video.notes[0]
    assert 55 < video.total_frames < 75


def test_last_frames_that_do_not_decode(tmp_path: Path) -> None:
    """Packets that are there but hold rubbish: the sample is spread over the frames that decode."""
    path = mux(tmp_path / "a.mkv", noise(40), codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    for position, size in packets[-10:]:
        data[position + 12 : position + size] = bytes(size - 12)
    path.write_bytes(data)
    video = read_video(path, Sampling(num_frames=20))
    assert video.total_frames == 30
    assert video.frame_indices[-1] == 28
    assert "30 of 40 announced frames" in video.notes[0]
    for position, size in packets[5:-10]:
        data[position + 12 : position + size] = bytes(size - 12)
    path.write_bytes(data)
    assert "only 5 of the 40 frames" in refusal(path)


def test_damage_in_the_middle_never_ends_in_a_traceback(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", noise(30), 30)
    data = (tmp_path / "a.mp4").read_bytes()
    rng = np.random.default_rng(3)
    read = 0
    for _ in range(25):
        damaged = bytearray(data)
        at = int(rng.integers(0, len(data) - 300))
        damaged[at : at + 300] = rng.bytes(300)
        (tmp_path / "b.mp4").write_bytes(damaged)
        try:
            video = read_video(tmp_path / "b.mp4", Sampling(num_frames=4))
        except RushesError:
            continue
        read += 1
        assert video.frames.shape == (4, 48, 64, 3)
    assert read > 5


def test_libav_stays_silent_and_its_log_level_is_put_back(
    tmp_path: Path, capfd: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    write_video(tmp_path / "a.mp4", noise(60), 30)
    cut(tmp_path / "a.mp4", 0.8)
    before = av.logging.get_level()
    try:
        for level in (None, av.logging.VERBOSE):
            av.logging.set_level(level)
            read_video(tmp_path / "cut0.8.mp4")
            assert av.logging.get_level() == level
    finally:
        av.logging.set_level(before)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


# --- writing ----------------------------------------------------------------------------------------------------


@contextmanager
def folder_stays_as_it_is(folder: Path) -> Iterator[None]:
    before = sorted(os.listdir(folder))
    yield
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize(
    ("frames", "arguments", "words"),
    [
        (grey_levels(2, 48, 63), {}, "even sizes"),
        (grey_levels(2, 47, 64), {}, "even sizes"),
        (grey_levels(0 + 1)[:0], {}, "at least one"),
        (grey_levels(2)[0], {}, "(T, H, W, 3)"),
        (grey_levels(2).astype(np.float32), {}, "float32"),
        ([1, 2], {}, "list"),
        (grey_levels(2), {"fps": 0}, "fps=0"),
        (grey_levels(2), {"fps": float("nan")}, "fps=nan"),
        (grey_levels(2), {"crf": 99}, "crf=99"),
    ],
)
def test_write_refuses(tmp_path: Path, frames: np.ndarray, arguments: dict, words: str) -> None:
    with folder_stays_as_it_is(tmp_path), pytest.raises(RushesError) as caught:
        write_video(tmp_path / "a.mp4", frames, **{"fps": 10, **arguments})
    assert words in str(caught.value)


def test_write_needs_a_folder_and_a_file_name(tmp_path: Path) -> None:
    with folder_stays_as_it_is(tmp_path):
        with pytest.raises(RushesError, match="no folder"):
            write_video(tmp_path / "missing" / "a.mp4", grey_levels(2), 10)
        with pytest.raises(RushesError, match="is a directory"):
            write_video(tmp_path, grey_levels(2), 10)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.mp4", grey_levels(8), 8)
    old = (tmp_path / "a.mp4").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with folder_stays_as_it_is(tmp_path):
        with monkeypatch.context() as patch:
            patch.setattr(video_write.os, "replace", full)
            with pytest.raises(RushesError, match="No space left"):
                write_video(tmp_path / "a.mp4", noise(4), 8)
        with monkeypatch.context() as patch:
            patch.setattr(video_write, "VideoFrame", None)  # breaks after the file was opened
            with pytest.raises(AttributeError):
                write_video(tmp_path / "a.mp4", noise(4), 8)
    assert (tmp_path / "a.mp4").read_bytes() == old


def test_without_x264_mpeg4_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_write.av, "codecs_available", {"mpeg4"})
    source = grey_levels(20)
    write_video(tmp_path / "a.mp4", source, 10)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
    assert_levels(read_video(tmp_path / "a.mp4", Sampling(num_frames=10)), source)


def test_index_comes_first(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", noise(4), 4)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
