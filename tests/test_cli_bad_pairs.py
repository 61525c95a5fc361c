"""Checkpoints that cannot work are refused in one line, before any weight is read."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from checkpoints import config, variant
from rushes._transformers import transformers
from rushes.demo import bundled
from test_cli_bad_input import refused

Run = Callable[..., Any]
Make = Callable[[Path], Path]
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub is not reachable, and that is known at once."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if weights are read."""
    loader = transformers.AutoModelForImageTextToText
    monkeypatch.setattr(loader, "from_pretrained", lambda *_, **__: pytest.fail("weights were read"))


def only(**contents: str) -> Make:
    """A folder with nothing but these files."""

    def make(folder: Path) -> Path:
        folder.mkdir()
        for name, content in contents.items():
            (folder / name.replace("_", ".")).write_text(content)
        return folder

    return make


def but(drop: tuple[str, ...] = (), **contents: str | bytes) -> Make:
    """The bundled draft but for these files."""
    return lambda folder: variant(folder, bundled.DRAFT, drop, **contents)


def a_file(path: Path) -> Path:
    path.write_text("{}")
    return path


def swapped_tokens(folder: Path) -> Path:
    tokenizer = json.loads((Path(bundled.DRAFT) / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    ids = {i: token for token, i in vocabulary.items()}
    vocabulary[ids[300]], vocabulary[ids[301]] = 301, 300
    return variant(folder, bundled.DRAFT, tokenizer_json=json.dumps(tokenizer))


def model_of(kind: str, **more: Any) -> Make:
    return only(config_json=json.dumps({"model_type": kind, **more}))


LAYERS = json.loads(config(bundled.DRAFT))["text_config"]["num_hidden_layers"]
LINEAR = {"layer_types": ["linear_attention"] * LAYERS}
SLIDING = {"layer_types": ["sliding_attention"] * LAYERS, "use_sliding_window": True, "sliding_window": 64}
CASES: dict[str, tuple[Make, str]] = {
    "missing": (lambda folder: folder, "does not exist; give a checkpoint folder or a hub id"),
    "a file": (a_file, "is a file, not a checkpoint folder"),
    "no config": (but(drop=("config.json",)), "not a checkpoint folder, it has no config.json"),
    "config not JSON": (but(config_json="{"), "not a valid JSON file"),
    "config a list": (but(config_json="[]"), "Should have a `model_type` key"),
    "config of wrong types": (but(config_json=config(bundled.DRAFT, {"hidden_size": "x"})), "'hidden_size'"),
    "unknown family": (model_of("nope"), "`nope`"),
    "bert": (model_of("bert"), "the family 'bert' is not supported; supported: "),
    "llama": (model_of("llama"), "the family 'llama' is not supported"),
    "qwen3_5": (model_of("qwen3_5"), "cannot be rolled back"),
    "linear attention": (but(config_json=config(bundled.DRAFT, LINEAR)), "(linear_attention layers) keeps a running"),
    "sliding window": (but(config_json=config(bundled.DRAFT, SLIDING)), "sliding-window attention is not supported"),
    "no tokenizer": (but(drop=TOKENIZER), "no tokenizer; the folder needs tokenizer.json"),
    "tokenizer not JSON": (but(tokenizer_json="{"), "no usable tokenizer"),
    "tokenizer of another shape": (but(tokenizer_json='{"a": 1}'), "no usable tokenizer"),
    "no weights": (but(drop=("model.safetensors",)), "has no weights"),
    "weights cut short": (but(model_safetensors=b"\0" * 5), "the weights cannot be read"),
    "other tokens": (swapped_tokens, "different tokens: token 300 is "),
    "other patches": (but(config_json=config(bundled.DRAFT, vision={"patch_size": 28})), "patch_size is 14 in the"),
    "other placeholder": (but(config_json=config(bundled.DRAFT, video_token_id=5)), "video_token_id is 637 in"),
}
PROCESSOR_CASES: dict[str, tuple[Make, str]] = {
    "no processor": (but(drop=("processor_config.json",)), "no usable processor"),
    "processor not JSON": (but(processor_config_json="{"), "not a valid JSON file"),
    "no chat template": (but(drop=("chat_template.jinja",)), "no chat template"),
}


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("case", CASES)
def test_a_draft_that_cannot_work(rushes: Run, video: Path, tmp_path: Path, case: str) -> None:
    make, words = CASES[case]
    draft = make(tmp_path / "draft")
    before = sorted(tmp_path.rglob("*"))
    refused(rushes("generate", video, "--target", bundled.TARGET, "--draft", draft), words)
    assert sorted(tmp_path.rglob("*")) == before
    if "weights" in case:
        return
    done = rushes("check", bundled.TARGET, draft)
    assert done.code == 2
    assert done.out.startswith("no: ")
    assert words in done.out
    assert done.err.startswith("rushes: ")
    assert done.err.count("\n") == 1


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("case", CASES | PROCESSOR_CASES)
def test_a_target_that_cannot_work(rushes: Run, video: Path, tmp_path: Path, case: str) -> None:
    make, words = (CASES | PROCESSOR_CASES)[case]
    target = make(tmp_path / "target")
    if case.startswith("other"):
        words = words.split(" is ")[0]  # it is the other way round
    refused(rushes("generate", video, "--target", target, "--draft", bundled.DRAFT), words)


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-VL-7B-Nope", "nope"])
def test_a_hub_id_that_cannot_be_reached(rushes: Run, video: Path, name: str) -> None:
    refused(rushes("generate", video, "--target", name, "--draft", name), name, "give the path of a checkpoint folder")


@pytest.mark.usefixtures("no_weights")
def test_names_that_nothing_can_have(rushes: Run, video: Path) -> None:
    for name, words in (("", "not a checkpoint folder"), ("two words", "give the path of a checkpoint folder")):
        refused(rushes("generate", video, "--target", name, "--draft", name), words)


def test_check_reads_no_weights(rushes: Run, tmp_path: Path, no_weights: None) -> None:
    target = variant(tmp_path / "target", bundled.TARGET, ("model.safetensors",))
    draft = variant(tmp_path / "draft", bundled.DRAFT, ("model.safetensors",))
    assert rushes("check", target, draft).out.startswith("yes: ")


def test_incomplete_weights_are_not_filled_with_random_numbers(rushes: Run, video: Path, tmp_path: Path) -> None:
    target = variant(tmp_path / "target", bundled.TARGET, ("model.safetensors",))
    weights = load_file(Path(bundled.TARGET) / "model.safetensors")
    name = next(name for name in sorted(weights) if "visual" in name)
    lost = weights.pop(name)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    arguments = ("generate", video, "--target", target, "--method", "ar")
    refused(rushes(*arguments), "1 tensors are missing or of another shape, such as model.")
    weights[name] = lost[:-1].contiguous()
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    refused(rushes(*arguments), "1 tensors are missing or of another shape")
