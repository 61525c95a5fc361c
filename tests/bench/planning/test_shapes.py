"""Sizes of models: bundled ones against published counts, configs against the models that they describe."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rushes._transformers import transformers
from rushes.bench.planning import shapes
from rushes.demo import bundled
from rushes.errors import RushesError


@pytest.mark.parametrize("name", shapes.bundled_names())
def test_bundled_shapes_have_the_published_count(name: str) -> None:
    assert shapes.find(name).parameters == pytest.approx(shapes.published_parameters()[name], rel=0.005)


def test_bundled_shapes_need_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rushes.loading.load_config", lambda _: pytest.fail("a config was looked up"))
    assert shapes.find("Qwen/Qwen3-VL-8B-Instruct").kv_heads == 8


@pytest.mark.parametrize("name", [bundled.TARGET, bundled.DRAFT])
def test_a_checkpoint_folder(name: str) -> None:
    shape = shapes.find(name)
    with open(Path(name) / "config.json") as file:
        text = json.load(file)["text_config"]
    assert (shape.layers, shape.hidden, shape.kv_heads) == (
        text["num_hidden_layers"],
        text["hidden_size"],
        text["num_key_value_heads"],
    )
    model = transformers.AutoModelForImageTextToText.from_pretrained(name)
    assert shape.parameters == pytest.approx(sum(one.numel() for one in model.parameters()), rel=0.01)


def test_a_stand_in_is_what_the_demo_runs() -> None:
    # `rushes bench` reports these; norms and biases are left out here.
    assert shapes.demo("target").parameters == pytest.approx(219_713_152, rel=0.001)
    assert shapes.demo("draft").parameters == pytest.approx(19_936_192, rel=0.002)


def test_a_llava_config() -> None:
    config = transformers.LlavaOnevisionConfig(
        text_config={
            "model_type": "qwen2",
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 128,
            "vocab_size": 1000,
        },
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "num_hidden_layers": 3,
            "intermediate_size": 64,
            "num_attention_heads": 2,
            "patch_size": 16,
        },
        tie_word_embeddings=True,
    )
    shape = shapes.from_config(config, "a config")
    assert (shape.layers, shape.kv_heads, shape.head_dim, shape.tied) == (2, 2, 16, True)
    assert shape.vision_parameters == 3 * (4 * 32**2 + 2 * 32 * 64) + 16**2 * 3 * 32
    assert shape.projector_parameters == 32 * 64 + 64 * 64


def test_strangers_are_refused() -> None:
    qwen, llava = shapes.find("Qwen/Qwen2.5-VL-7B-Instruct"), shapes.find("llava-hf/llava-onevision-qwen2-0.5b-ov-hf")
    shapes.refuse_strangers(qwen, shapes.find("Qwen/Qwen2.5-VL-3B-Instruct"))
    shapes.refuse_strangers(qwen, shapes.find(bundled.DRAFT))
    shapes.refuse_strangers(qwen, replace(qwen, family="qwen2_vl"))  # kin: their processors return the same
    for pair in ((qwen, llava), (llava, qwen), (qwen, replace(qwen, family="none"))):
        with pytest.raises(RushesError, match="cannot draft for"):
            shapes.refuse_strangers(*pair)


def test_experts_are_refused() -> None:
    config = transformers.Qwen3VLMoeConfig()
    with pytest.raises(RushesError, match="dense models"):
        shapes.from_config(config, "a mixture")
