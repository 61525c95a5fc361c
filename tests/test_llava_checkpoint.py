"""LLaVA checkpoints from disk: processor, chat template, weights, and every refusal before weights are read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rushes as package
from checkpoints import variant
from llava_checkpoint import llava_checkpoint
from rushes import Pair, RushesError
from rushes._transformers import transformers
from rushes.demo import bundled
from rushes.prompting import sampling_for
from test_cli_bad_input import refused

Run = Callable[..., Any]
FAMILIES = ("llava_onevision", "llava_next_video")
NEW = 20
PROMPT = "What moves?"


@pytest.fixture(scope="module", params=FAMILIES)
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A target, and a draft with other weights and more padding behind its vocabulary."""
    where = tmp_path_factory.mktemp(request.param)
    return (
        llava_checkpoint(where / "target", request.param),
        llava_checkpoint(where / "draft", request.param, 1, hidden=32, layers=1, padding=14),
    )


@pytest.fixture(scope="module")
def pair(folders: tuple[Path, Path]) -> Pair:
    return package.load(*map(str, folders))


@pytest.fixture(scope="module")
def untouched(folders: tuple[Path, Path]) -> Any:
    return transformers.AutoModelForImageTextToText.from_pretrained(folders[0]).eval()


def generated(model: Any, inputs: Any) -> list[int]:
    made = model.generate(**inputs, do_sample=False, max_new_tokens=NEW)
    answer: list[int] = made[0, inputs["input_ids"].shape[1] :].tolist()
    return answer


def edited(folder: Path, source: Path, file: str, change: Callable[[dict[str, Any]], Any]) -> Path:
    contents = json.loads((source / f"{file}.json").read_text())
    change(contents)
    return variant(folder, str(source), **{f"{file}_json": json.dumps(contents)})


@pytest.mark.parametrize("method", ["ar", "sd", "specvlm"])
def test_answers_about_a_file_equal_generate(pair: Pair, untouched: Any, video: Path, method: str) -> None:
    inputs, _ = pair.inputs(video, PROMPT)
    assert pair.target.grids(inputs) == ((4, 3, 3),)  # two frames of each second
    wanted = generated(untouched, inputs)
    assert len(set(wanted)) > 3
    result = pair.generate(video, PROMPT, method=method, keep=0.3, max_new_tokens=NEW, check=True)
    assert result.token_ids == wanted
    assert result.check is not None
    assert result.check.identical
    assert (result.frames, result.video_tokens) == (4, 36)
    text = pair.processor.tokenizer.decode(wanted, skip_special_tokens=True)
    assert result.text == text
    assert PROMPT in pair.processor.tokenizer.decode(inputs["input_ids"][0])


def test_text_alone_and_pictures_of_any_shape_equal_generate(pair: Pair, untouched: Any) -> None:
    assert pair.generate(None, PROMPT, method="sd", max_new_tokens=NEW).token_ids == generated(
        untouched, pair.inputs(None, PROMPT)[0]
    )
    random = np.random.default_rng(0)
    wide, high = (random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((30, 70), (64, 21)))
    clips = [random.integers(0, 256, (3, 40, 60, 3), dtype=np.uint8) for _ in range(2)]
    for text, seen in (
        ("<image> Hi", {"images": [wide]}),
        ("<image><image> Hi", {"images": [[wide, high]]}),
        ("<video> and <video> Hi", {"videos": clips}),
        ("<image> then <video> Hi", {"images": [high], "videos": clips[:1]}),
    ):
        inputs = pair.processor(text=[text], **seen, return_tensors="pt")
        for method in ("sd", "specvlm"):
            result = pair.generate_inputs(inputs, method=method, keep=0.5, max_new_tokens=NEW)
            assert result.token_ids == generated(untouched, inputs), text
        assert result.video_tokens == 27 * text.count("<video>")


def test_marks_in_the_prompt_are_refused(pair: Pair, video: Path) -> None:
    for mark in ("<video>", "<image>"):
        with pytest.raises(RushesError, match=f"the prompt contains {mark}"):
            pair.generate(video, f"What is {mark}?")


def test_long_videos_are_thinned_out_as_far_as_the_checkpoint_was_trained_for(pair: Pair) -> None:
    most = pair.target.max_frames
    assert most == {"llava_onevision": 32, "llava_next_video": 16}[pair.target.config.model_type]
    assert len(sampling_for(pair.processor, max_frames=most).indices(30_000, 30.0)) == most
    assert len(sampling_for(pair.processor, fps=1.0, max_frames=most).indices(3_000, 30.0)) == 100  # asked for
    assert len(sampling_for(pair.processor, num_frames=100, max_frames=most).indices(3_000, 30.0)) == 100


def test_videos_of_different_length_in_one_prompt_are_refused(pair: Pair) -> None:
    inputs = dict(pair.inputs(None, PROMPT)[0])
    size = pair.target.config.vision_config.image_size
    inputs["pixel_values_videos"] = [torch.zeros(2, 3, size, size), torch.zeros(3, 3, size, size)]
    with pytest.raises(RushesError, match="the videos of one prompt need the same number of frames"):
        pair.generate_inputs(inputs, method="ar")


def test_frames_of_another_size_are_refused(
    pair: Pair, folders: tuple[Path, Path], video: Path, tmp_path: Path
) -> None:
    def enlarge(made: dict[str, Any]) -> None:
        sizes = made["video_processor"]
        sizes["size"] = dict.fromkeys(sizes["size"], 28)
        if "crop_size" in sizes:
            sizes["crop_size"] = {"height": 28, "width": 28}

    other = edited(tmp_path / "other", folders[0], "processor_config", enlarge)
    with pytest.raises(RushesError, match=r"the processor made frames of 28x28 pixels, the model takes 2[04]x2[04]"):
        package.load(str(other)).generate(video, PROMPT, method="ar")


def test_a_processor_that_cannot_count_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    setting = "num_image_tokens" if "onevision" in str(folders[0]) else "patch_size"
    other = edited(tmp_path / "other", folders[0], "processor_config", lambda made: made.pop(setting))
    with pytest.raises(RushesError, match=f"the processor does not know its {setting}"):
        package.load(str(other))


def test_a_pair_is_checked_without_weights(rushes: Run, folders: tuple[Path, Path], tmp_path: Path) -> None:
    bare = [variant(tmp_path / folder.name, str(folder), ("model.safetensors",)) for folder in folders]
    assert rushes("check", *bare).out.startswith("yes: ")


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = transformers.AutoModelForImageTextToText
    monkeypatch.setattr(loader, "from_pretrained", lambda *_, **__: pytest.fail("weights were read"))


@pytest.mark.usefixtures("no_weights")
def test_mixed_families_are_refused_before_weights_are_read(
    rushes: Run, folders: tuple[Path, Path], video: Path
) -> None:
    family = json.loads((folders[0] / "config.json").read_text())["model_type"]
    for target, draft, words in (
        (folders[0], bundled.DRAFT, f"the target is a {family} and the draft a qwen2_5_vl"),
        (bundled.TARGET, folders[1], f"the target is a qwen2_5_vl and the draft a {family}"),
    ):
        refused(rushes("generate", video, "--target", target, "--draft", draft), words)
        done = rushes("check", target, draft)
        assert done.code == 2
        assert words in done.out
        with pytest.raises(RushesError, match=words):
            package.load(str(target), str(draft))


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("part", "name", "value"),
    [("vision_config", "image_size", 28), ("vision_config", "patch_size", 2), (None, "video_token_index", 5)],
)
def test_a_draft_that_cuts_frames_otherwise_is_refused(
    folders: tuple[Path, Path], tmp_path: Path, part: str | None, name: str, value: int
) -> None:
    draft = edited(
        tmp_path / "draft", folders[1], "config", lambda made: (made[part] if part else made).update({name: value})
    )
    with pytest.raises(
        RushesError, match=f"read videos differently: .*{name.removesuffix('_index')}.* is .* {value} in"
    ):
        package.load(str(folders[0]), str(draft))
