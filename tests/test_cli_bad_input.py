"""Bad input ends in exit code 2 and one line on stderr that says what is wrong; nothing else is written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest
import torch

from rushes.video import write_video
from test_video import noise, write_sound

Run = Callable[..., Any]


def refused(done: Any, *words: str, code: int = 2) -> None:
    assert done.out == ""
    assert done.err.startswith("rushes: ")
    assert done.err.count("\n") == 1
    assert done.err.endswith("\n")
    for word in words:
        assert word in done.err
    assert done.code == code


@pytest.fixture
def no_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if a model is loaded: what can be refused without one is refused before."""
    monkeypatch.setattr("rushes.cli._load", lambda *_: pytest.fail("a model was loaded"))
    monkeypatch.setattr("rushes.demo.bundled.standins", lambda *_: pytest.fail("a model was loaded"))


@pytest.mark.usefixtures("no_models")
class TestOptions:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ("--keep -0.1", "keep must be between 0"),
            ("--keep 1.5", "got 1.5"),
            ("--keep nan", "got nan"),
            ("--gamma 0", "gamma must be between 1 and"),
            ("--gamma 1000000", "got 1000000"),
            ("--gamma 0 --method ar", "gamma must be between 1 and"),
            ("--gamma -3", "gamma must be between 1 and"),
            ("--gamma fast", "gamma must be a whole number or 'auto', got 'fast'"),
            ("--method uvprune", "'uvprune' is a scorer, not a method; spell out uvprune+chain+exact+sequential"),
            ("--method std+chain+exact+sequential", "only the drafter 'self' can use, not 'chain'"),
            ("--method hippo:weights=0.5/0.5/0.5+chain+exact+sequential", "sum to 1"),
            ("--method hippo:crops=9+chain+exact+sequential", "did you mean 'crop'?"),
            ("--max-new-tokens 0", "max_new_tokens must be 1 or more, got 0"),
            ("--temperature -1", "temperature must be 0 (greedy) or"),
            ("--temperature nan", "got nan"),
            ("--temperature inf", "got inf"),
            ("--temperature 1e-30", "got 1e-30"),
            ("--top-p 0", "top_p must be above 0 and at most 1, got 0.0"),
            ("--top-p 1.1", "got 1.1"),
            ("--top-p nan", "got nan"),
            ("--top-k -1", "top_k must be 0 (off) or more, got -1"),
            ("--seed -1", "seed must be between 0"),
            ("--seed 99999999999999999999", "seed must be between 0"),
            ("--check --temperature 1", "leave the temperature at 0"),
            ("--frames 0", "num_frames=0 is not possible"),
            ("--frames -3", "num_frames=-3 is not possible"),
            ("--frames 4 --fps 2", "exclude each other"),
            ("--frames 17", "17 frames were asked of a video that has 16"),
            ("--fps 0", "fps=0.0 is not possible"),
            ("--fps nan", "fps=nan is not possible"),
            ("--method specvml", "unknown method 'specvml'; did you mean 'specvlm'?"),
            ("--method zzz", "known: ar, sd, specvlm"),
            ("--method uniform+chain+exact", "has 3 parts; spell out four"),
            ("--method uniform+chain+exact+sequential+more", "has 5 parts"),
            ("--method uniformly+chain+exact+sequential", "unknown scorer 'uniformly'; did you mean 'uniform'?"),
            ("--method uniform+chains+exact+sequential", "unknown drafter 'chains'; did you mean 'chain'?"),
            ("--method uniform+chain+exakt+sequential", "unknown verifier 'exakt'; did you mean 'exact'?"),
            ("--method uniform+chain+exact+concurrent", "unknown schedule 'concurrent'"),
            ("--device nope", "unknown device 'nope'; use cpu, cuda or cuda:0"),
            ("--device meta", "unknown device 'meta'"),
            ("--draft-device nope", "unknown device 'nope'"),
            ("--dtype int8", "unknown dtype 'int8'; known: auto, float32, bfloat16, float16"),
            ("--target somewhere", "--target without --draft"),
            ("--draft somewhere", "--draft without --target"),
            ("--draft somewhere --method ar", "--draft without --target"),
            ("--nope", "No such option: --nope"),
            ("--keep", "requires an argument"),
            ("--keep much", "Invalid value for '--keep'"),
            ("--gamma 2.5", "gamma must be a whole number or 'auto', got '2.5'"),
            ("another.mp4", "unexpected extra argument"),
        ],
    )
    def test_what_cannot_be(self, rushes: Run, video: Path, options: str, words: str) -> None:
        refused(rushes("generate", video, *options.split()), words)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
    def test_a_gpu_that_is_not_there(self, rushes: Run, video: Path) -> None:
        refused(rushes("generate", video, "--device", "cuda"), "device 'cuda' is not there", "use cpu")

    @pytest.mark.parametrize("prompt", ["", "  \n\t "])
    def test_empty_prompts(self, rushes: Run, video: Path, prompt: str) -> None:
        refused(rushes("generate", video, "-p", prompt), "the prompt is empty; ask something")

    def test_a_prompt_in_another_encoding(self, rushes: Run, video: Path) -> None:
        prompt = b"caf\xe9?".decode("utf-8", "surrogateescape")  # what Python makes of Latin-1 in sys.argv
        refused(rushes("generate", video, "-p", prompt), "not UTF-8 text (character 4)")

    def test_no_such_command(self, rushes: Run) -> None:
        refused(rushes("generat"), "No such command 'generat'")
        refused(rushes("--nope"), "No such option: --nope")
        refused(rushes("check", "one"), "Missing argument 'draft'")


@pytest.mark.usefixtures("no_models")
class TestVideos:
    def test_none_given(self, rushes: Run) -> None:
        refused(rushes("generate"), "no video given; `rushes demo --out demo-out` writes one")

    def test_what_is_not_there(self, rushes: Run, tmp_path: Path) -> None:
        refused(rushes("generate", tmp_path / "none.mp4"), "there is no file", "none.mp4")
        refused(rushes("generate", tmp_path), "is a directory")
        refused(rushes("generate", ""), "directory")
        refused(rushes("generate", b"\xe9.mp4".decode("utf-8", "surrogateescape")), "there is no file")

    def test_text_and_nothing(self, rushes: Run, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_text("This is not a video.\n" * 50)
        refused(rushes("generate", tmp_path / "a.mp4"), "not a video")
        (tmp_path / "b.mp4").touch()
        refused(rushes("generate", tmp_path / "b.mp4"), "is empty (0 bytes)")

    def test_truncated(self, rushes: Run, tmp_path: Path) -> None:
        path = tmp_path / "a.mp4"
        write_video(path, noise(30), 30)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
        refused(rushes("generate", path), "truncated or damaged")

    def test_no_frames(self, rushes: Run, tmp_path: Path) -> None:
        with av.open(str(tmp_path / "a.avi"), "w") as container:
            stream = container.add_stream("mpeg4", rate=30)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            container.start_encoding()
        refused(rushes("generate", tmp_path / "a.avi"), "has no frames")

    def test_sound_only(self, rushes: Run, tmp_path: Path) -> None:
        refused(rushes("generate", write_sound(tmp_path / "a.m4a")), "sound but no video")


class TestWithModels:
    """What only shows once the bundled pair is there; it holds 4096 tokens."""

    def test_a_prompt_over_the_context_length(self, rushes: Run, video: Path) -> None:
        refused(rushes("generate", video, "-p", "where " * 5000), "the target holds 4096", "a shorter prompt")
        refused(rushes("generate", video, "--max-new-tokens", 4096), "4096 more were asked for")

    @pytest.mark.parametrize("mark", ["<|video_pad|>", "<|image_pad|>"])
    def test_a_prompt_with_placeholders(self, rushes: Run, video: Path, mark: str) -> None:
        refused(rushes("generate", video, "-p", f"What is {mark}?"), f"the prompt contains {mark}")

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ("--method hippo:crop=4+chain+exact+sequential", "crop 4 is larger than a frame of 3 x 4 cells; give 3"),
            ("--method uvprune:layers=99+chain+exact+sequential", "99"),
            ("--keep 0.001", "is less than one; give 0.0"),
        ],
    )
    def test_what_does_not_fit_this_video_or_model(self, rushes: Run, video: Path, options: str, words: str) -> None:
        refused(rushes("generate", video, *options.split()), words)

    def test_no_memory_for_the_cache(self, rushes: Run, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("rushes.cache._free_cpu_bytes", lambda: 2**18)
        done = rushes("generate", video, "--max-new-tokens", 3000)
        refused(done, "no memory for the cache", "slots need 0.0", "GiB on cpu, 0.00 GiB are free")

    def test_a_video_that_is_too_narrow_for_the_processor(self, rushes: Run, tmp_path: Path) -> None:
        write_video(tmp_path / "a.mp4", noise(4, 4, 1000), 4)
        refused(rushes("generate", tmp_path / "a.mp4"), "the processor cannot use this video", "aspect ratio")


@pytest.mark.usefixtures("no_models")
class TestFolders:
    @pytest.mark.parametrize("command", ["demo", "bench"])
    def test_out_is_a_file(self, rushes: Run, tmp_path: Path, command: str) -> None:
        (tmp_path / "out").write_text("mine")
        refused(rushes(command, "--out", tmp_path / "out"), "cannot make this folder", "choose another --out")
        refused(rushes(command, "--out", tmp_path / "out" / "in"), "cannot make this folder")
        assert [file.name for file in tmp_path.iterdir()] == ["out"]
        assert (tmp_path / "out").read_text() == "mine"

    @pytest.mark.parametrize("command", ["demo", "bench"])
    def test_out_is_not_writable(
        self, rushes: Run, tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The suite may run as root, whom no permission stops.
        def denied(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "mkdir", denied)
        refused(rushes(command, "--out", tmp_path / "out"), "Permission denied", "choose another --out")

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ("--methods ar,specvml", "did you mean 'specvlm'?"),
            ("--methods ,", "no methods given"),
            ("--keep nan", "keep must be between 0"),
            ("--samples 0", "Invalid value for '--samples'"),
        ],
    )
    def test_bench_options(self, rushes: Run, tmp_path: Path, options: str, words: str) -> None:
        refused(rushes("bench", "--out", tmp_path / "out", *options.split()), words)
        assert not (tmp_path / "out").exists()


class TestFailures:
    """What is not the user's fault: exit code 1, and 130 for an interrupt."""

    @pytest.fixture
    def failing(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
        def fail_with(error: BaseException) -> None:
            def load(*_: object) -> None:
                raise error

            monkeypatch.setattr("rushes.cli._load", load)

        return fail_with

    def test_an_internal_failure(self, rushes: Run, video: Path, failing: Callable[..., None]) -> None:
        failing(RuntimeError("a shape\nis wrong"))
        words = "internal error, RuntimeError: a shape is wrong"
        refused(rushes("generate", video), words, "--debug", code=1)
        done = rushes("generate", video, "--debug")
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("Traceback")
        assert done.err.endswith(f"rushes: {words}\n")

    def test_bad_input_with_a_traceback(self, rushes: Run, video: Path) -> None:
        done = rushes("generate", video, "--keep", 7, "--debug")
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("Traceback")
        assert done.err.splitlines()[-1].startswith("rushes: keep must be")

    def test_an_interrupt(self, rushes: Run, video: Path, failing: Callable[..., None]) -> None:
        failing(KeyboardInterrupt())
        refused(rushes("generate", video), "interrupted", code=130)

    def test_no_half_of_a_json_object(self, rushes: Run, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def not_serialisable(_: object) -> dict[str, Any]:
            raise TypeError("cannot be written")

        monkeypatch.setattr("rushes.result.Result.to_json", not_serialisable)
        refused(rushes("generate", video, "--json", "--max-new-tokens", 1), "internal error, TypeError", code=1)
