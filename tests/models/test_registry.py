"""What cannot be decoded speculatively is refused before anything is loaded, with the reason."""

from typing import Any

import pytest

from rushes import Pair, RushesError
from rushes._transformers import transformers
from rushes.models.qwen2_5_vl import Qwen2_5_VL
from rushes.models.qwen2_vl import Qwen2_VL
from rushes.models.registry import adapt, adapter_for, families
from tiny import tiny_qwen2_5_vl, tiny_qwen2_vl


def config(family: type = transformers.Qwen2_5_VLConfig, **text: Any) -> Any:
    return family(text_config={"num_hidden_layers": 4, **text})


@pytest.mark.parametrize(
    ("family", "adapter"), [(transformers.Qwen2VLConfig, Qwen2_VL), (transformers.Qwen2_5_VLConfig, Qwen2_5_VL)]
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


def test_hybrid_families_are_refused_by_name_too() -> None:
    with pytest.raises(RushesError, match=r"qwen3_5.*linear_attention.*cannot be rolled back after a rejected"):
        adapter_for(transformers.Qwen3_5Config(), "x")
    with pytest.raises(RushesError, match=r"jamba.*cannot be rolled back"):
        adapter_for(transformers.JambaConfig(), "x")


def test_sliding_windows_are_refused() -> None:
    sliding = config(use_sliding_window=True, sliding_window=64, max_window_layers=2)
    assert "sliding_attention" in sliding.text_config.layer_types
    with pytest.raises(RushesError, match="sliding-window attention is not supported; disable use_sliding_window"):
        adapter_for(sliding, "x")


def test_a_model_that_calls_itself_stateful_is_refused() -> None:
    model = tiny_qwen2_5_vl()
    model._is_stateful = True
    with pytest.raises(RushesError, match="draft: qwen2_5_vl is stateful and cannot be rolled back"):
        Pair(tiny_qwen2_5_vl(), model)
