"""What cannot be decoded speculatively is refused before anything is loaded, with the reason."""

from typing import Any

import pytest

from rushes import Pair, RushesError
from rushes._transformers import transformers
from rushes.models.qwen2_5_vl import Qwen2_5_VL
from rushes.models.qwen2_vl import Qwen2_VL
from rushes.models.qwen3_vl import Qwen3_VL
from rushes.models.registry import adapt, adapter_for, families
from tiny import tiny_qwen2_5_vl, tiny_qwen2_vl
from tiny_llava import tiny_llava_inputs, tiny_llava_next_video, tiny_llava_onevision


def config(family: type = transformers.Qwen2_5_VLConfig, **text: Any) -> Any:
    return family(text_config={"num_hidden_layers": 4, **text})


@pytest.mark.parametrize(
    ("family", "adapter"),
    [
        (transformers.Qwen2VLConfig, Qwen2_VL),
        (transformers.Qwen2_5_VLConfig, Qwen2_5_VL),
        (transformers.Qwen3VLConfig, Qwen3_VL),
        (transformers.Qwen3VLMoeConfig, Qwen3_VL),
    ],
)
def test_supported_families_get_their_adapter(family: type, adapter: type) -> None:
    assert adapter_for(config(family), "x") is adapter
    assert config(family).model_type in families()


@pytest.mark.parametrize("make", [tiny_qwen2_5_vl, tiny_qwen2_vl])
def test_adapting_cuts_padding_rows_off(make: Any) -> None:
    assert adapt(make(), "x").vocabulary == 96
    assert adapt(make(), "x", 90).vocabulary == 90
    assert adapt(make(), "x", 1000).vocabulary == 96


def test_an_unsupported_family_is_refused_and_the_supported_ones_are_named() -> None:
    with pytest.raises(RushesError, match=r"some/name: the family 'llama' is not supported; supported: .*qwen2_5_vl"):
        adapter_for(transformers.LlamaConfig(num_hidden_layers=1), "some/name")


@pytest.mark.parametrize("kind", ["linear_attention", "mamba", "chunked_attention"])
def test_layers_with_a_running_state_are_refused(kind: str) -> None:
    hybrid = config()
    hybrid.text_config.layer_types = ["full_attention", kind, kind, "full_attention"]
    with pytest.raises(RushesError, match=rf"{kind} layers.*cannot be rolled back"):
        adapter_for(hybrid, "x")


HYBRIDS = (
    "Qwen3_5Config",
    "Qwen3_5TextConfig",
    "Qwen3_5MoeConfig",
    "Qwen3_5MoeTextConfig",
    "Qwen3NextConfig",
    "Qwen4ExpConfig",
    "MiniCPMV4_6Config",
    "OlmoHybridConfig",
    "KimiLinearConfig",
    "JambaConfig",
    "BambaConfig",
    "FalconH1Config",
    "GraniteMoeHybridConfig",
    "NemotronHConfig",
    "Zamba2Config",
)


@pytest.mark.parametrize("name", [name for name in HYBRIDS if hasattr(transformers, name)])
def test_hybrid_families_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(RushesError, match=r"^x: \w+( \([a-z_, ]+ layers\))? keeps a running state that cannot"):
        adapter_for(getattr(transformers, name)(), "x")


@pytest.mark.parametrize("family", ["Qwen3_5", "Qwen3_5Moe"])
def test_the_reason_names_the_layers_of_a_qwen3_5(family: str) -> None:
    config = getattr(transformers, f"{family}Config")()
    with pytest.raises(RushesError, match=r"qwen3_5(_moe)? \(linear_attention layers\) keeps a running state"):
        adapter_for(config, "x")
    config.text_config.layer_types = ["full_attention"] * 4  # whatever its config says
    with pytest.raises(RushesError, match=r"qwen3_5(_moe)? keeps a running state"):
        adapter_for(config, "x")


def test_sliding_windows_are_refused() -> None:
    sliding = config(use_sliding_window=True, sliding_window=64, max_window_layers=2)
    assert "sliding_attention" in sliding.text_config.layer_types
    with pytest.raises(RushesError, match="sliding-window attention is not supported; disable use_sliding_window"):
        adapter_for(sliding, "x")


@pytest.mark.parametrize("window", [64, 4095])
def test_a_mistral_that_looks_back_over_less_than_it_holds_is_refused(window: int) -> None:
    model = tiny_llava_next_video(language="mistral")
    model.config.text_config.sliding_window = window
    with pytest.raises(RushesError, match=rf"a sliding_window of {window} is less than the 4096 tokens.* to null"):
        adapter_for(model.config, "x")
    with pytest.raises(RushesError, match="target: sliding-window attention is not supported"):
        Pair(model)


@pytest.mark.parametrize("window", [4096, 10_000, None])
def test_a_window_that_never_cuts_is_taken(window: int | None) -> None:
    model = tiny_llava_next_video(language="mistral")
    model.config.text_config.sliding_window = window
    inputs = tiny_llava_inputs(model)
    wanted = model.generate(**inputs, do_sample=False, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :].tolist()
    assert Pair(model, model).generate_inputs(inputs, method="specvlm", max_new_tokens=12).token_ids == wanted


def test_the_language_model_inside_is_looked_at() -> None:
    model = tiny_llava_onevision()
    for layers, words in (
        (["full_attention", "sliding_attention"], "sliding-window attention is not supported"),
        (["full_attention", "linear_attention"], "cannot be rolled back"),
    ):
        model.config.text_config.layer_types = layers
        with pytest.raises(RushesError, match=words):
            adapter_for(model.config, "x")


def test_a_model_that_calls_itself_stateful_is_refused() -> None:
    model = tiny_qwen2_5_vl()
    model._is_stateful = True
    with pytest.raises(RushesError, match="draft: qwen2_5_vl is stateful and cannot be rolled back"):
        Pair(tiny_qwen2_5_vl(), model)
