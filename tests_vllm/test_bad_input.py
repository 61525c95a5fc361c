"""What cannot work is refused in one line when the configuration is made, before any process or weight."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import vllm
from serving import COMMON, drafting
from vllm.engine.arg_utils import EngineArgs

from rushes.demo.bundled import DRAFT, TARGET
from rushes.errors import RushesError
from rushes.integrations.vllm import VideoDrafter, plugin
from rushes.integrations.vllm.start import is_ours


def configure(**settings: Any) -> Any:
    return EngineArgs(TARGET, **{**COMMON, **drafting(**settings)}).create_engine_config()


def refused(line: str, **settings: Any) -> None:
    with pytest.raises(RushesError, match=line) as caught:
        configure(**settings)
    assert "\n" not in str(caught.value)


def other(folder: Path, file: str, change: Any) -> str:
    """The bundled draft with one file of it changed."""
    shutil.copytree(DRAFT, folder)
    held = json.loads((folder / file).read_text())
    change(held)
    (folder / file).write_text(json.dumps(held))
    return str(folder)


def test_what_is_right_passes():
    assert is_ours(configure(scorer="uniform", keep=0.2))


@pytest.mark.parametrize("keep", [-0.1, 1.5, "a tenth", True, None])
def test_keep_out_of_range(keep):
    refused("keep must be between 0", keep=keep)


def test_an_unknown_scorer():
    refused("unknown scorer 'hipo'; did you mean 'hippo'", scorer="hipo")


def test_a_scorer_that_reads_the_target():
    refused("scorer 'specvlm' reads the target's attention or states, which vLLM does not show", scorer="specvlm")
    assert is_ours(configure(scorer="specvlm", guidance="draft"))


def test_a_scorer_for_drafting_oneself():
    refused("unknown scorer 'std'", scorer="std", guidance="draft")


def test_a_weight_for_what_nobody_shows():
    refused("the weight of relevance must be 0", scorer="hippo:weights=0.5/0.3/0.2")


def test_an_unknown_setting():
    refused("unknown setting of rushes 'kep'; did you mean 'keep'", kep=0.1)


@pytest.mark.parametrize("value", [0, -1, 1.5, "two", True])
def test_rows_and_layers_are_whole_numbers(value):
    refused("rows_at_once must be a whole number of 1 or more", rows_at_once=value)
    refused("guidance_layers must be a whole number of 1 or more", guidance_layers=value)


def test_an_unknown_guidance():
    refused("unknown guidance 'target'", guidance="target")


def test_an_unknown_dtype():
    refused("unknown dtype 'float8'", dtype="float8")


def test_no_settings_and_no_draft():
    with pytest.raises(RushesError, match="the plug-in has no settings"):
        EngineArgs(TARGET, **{**COMMON, **drafting(), "additional_config": {}}).create_engine_config()
    with pytest.raises(RushesError, match="the draft is missing"):
        EngineArgs(TARGET, **{**COMMON, **drafting(), "additional_config": {"rushes": {}}}).create_engine_config()


def test_a_draft_that_is_not_there():
    refused("does not exist", draft="./no-such-draft")


def test_a_draft_without_weights(tmp_path):
    folder = other(tmp_path / "draft", "config.json", lambda config: None)
    (Path(folder) / "model.safetensors").unlink()
    refused("has no weights", draft=folder)


def test_a_draft_of_another_vocabulary(tmp_path):
    def change(tokenizer: dict[str, Any]) -> None:
        words = tokenizer["model"]["vocab"]
        a, b = sorted(words, key=words.get)[300:302]
        words[a], words[b] = words[b], words[a]

    refused("target and draft have different tokens", draft=other(tmp_path / "draft", "tokenizer.json", change))


def test_a_draft_of_another_family(tmp_path):
    def change(config: dict[str, Any]) -> None:
        config.update(model_type="qwen3_vl", architectures=["Qwen3VLForConditionalGeneration"])
        config["text_config"]["model_type"] = "qwen3_vl_text"
        config["vision_config"]["model_type"] = "qwen3_vl"

    folder = other(tmp_path / "draft", "config.json", change)
    refused("the target is a qwen2_5_vl and the draft a qwen3_vl", draft=folder)


def test_a_draft_that_cuts_pictures_up_otherwise(tmp_path):
    folder = other(tmp_path / "draft", "config.json", lambda config: config["vision_config"].update(patch_size=16))
    refused("target and draft read videos differently: vision_config.patch_size", draft=folder)


@pytest.mark.parametrize("memory", [0, -1, "much"])
def test_a_budget_that_is_none(memory):
    refused("draft_memory_gib must be a number above 0", draft_memory_gib=memory)


def test_a_draft_too_big_for_the_budget():
    refused(
        "the draft does not fit into draft_memory_gib 0.001: its weights take .* set draft_memory_gib to 0.00",
        draft_memory_gib=0.001,
    )


def test_the_budget_that_the_refusal_names_is_enough():
    with pytest.raises(RushesError) as caught:
        configure(draft_memory_gib=0.001)
    named = float(str(caught.value).split("set draft_memory_gib to ")[1].split()[0])
    assert is_ours(configure(draft_memory_gib=named))


def test_the_second_model_runner(monkeypatch):
    monkeypatch.setenv("VLLM_USE_V2_MODEL_RUNNER", "1")
    refused("V1 model runner; unset VLLM_USE_V2_MODEL_RUNNER")


def test_another_version_of_vllm(monkeypatch):
    config = configure()
    monkeypatch.setattr(vllm, "__version__", "0.33.1")
    with pytest.raises(RushesError, match=r"written for vLLM 0.32, this is 0.33.1; pip install 'rushes\[vllm\]'"):
        VideoDrafter(config)
    plugin.register()  # other users of that vLLM are not disturbed


def test_engines_without_us_are_left_alone():
    config = EngineArgs(TARGET, **COMMON, additional_config={"rushes": {"keep": 7}}).create_engine_config()
    assert not is_ours(config)
