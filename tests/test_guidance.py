"""What the draft's own layers reveal of a prompt is what a whole prefill reveals of these layers."""

import pytest
import torch

from rushes.errors import RushesError
from rushes.guidance import own_signals
from rushes.methods import scorer
from rushes.models.registry import adapt
from rushes.pruning.hippo import Hippo, LocalHippo
from rushes.recording import Recording
from rushes.signals import Signals
from tiny import tiny_qwen2_5_vl, tiny_text_inputs, tiny_video_inputs
from tiny_qwen3 import tiny_qwen3_vl

DEPTH = 3


@pytest.fixture(scope="module", params=[tiny_qwen2_5_vl, tiny_qwen3_vl], ids=["qwen2_5_vl", "qwen3_vl"])
def model(request):
    return adapt(request.param(layers=DEPTH), "draft")


@torch.inference_mode()
@pytest.mark.parametrize("layers", [1, 2, 3, 9])
@pytest.mark.parametrize("name", ["hippo", "specvlm", "uvprune:layers=1"])
def test_signals_of_the_first_layers(model, layers, name):
    inputs = tiny_video_inputs(model.model)
    features = model.encode(inputs)
    prompt = model.prompt(inputs, features)
    part = scorer(name)

    class FirstLayers(Recording):
        def __call__(self, layer, *args):
            if layer < layers:
                super().__call__(layer, *args)

    whole = FirstLayers(prompt, part.needs, part.early_layer(DEPTH), DEPTH)
    model.prefill(prompt, model.new_cache(len(prompt)), whole)
    expected, found = (
        part.score(whole.signals(features)),
        part.score(own_signals(model, prompt, features, part, layers)),
    )
    torch.testing.assert_close(found, expected)
    assert float(found.std()) > 0


@torch.inference_mode()
def test_layers_behind_those_do_not_run(model):
    inputs = tiny_video_inputs(model.model)
    features = model.encode(inputs)
    ran = []
    hooks = [
        layer.mlp.register_forward_hook(lambda *_, i=i: ran.append(i))
        for i, layer in enumerate(model.language_model.layers)
    ]
    own_signals(model, model.prompt(inputs, features), features, scorer("hippo"), 2)
    for hook in hooks:
        hook.remove()
    assert ran == [0, 1]


@torch.inference_mode()
def test_a_prompt_without_video_has_nothing_to_show(model):
    inputs = tiny_text_inputs(model.model)
    features = model.encode(inputs)
    signals = own_signals(model, model.prompt(inputs, features), features, scorer("specvlm"))
    assert signals.video_tokens == 0


def test_local_hippo_is_hippo_without_relevance():
    generator = torch.Generator().manual_seed(0)
    grids = ((4, 3, 5),)
    rows = torch.randn(60, 8, generator=generator)
    flat = Signals(60, grids, visual_attention=torch.full((60,), 1 / 60), features=rows)
    # Even relevance is constant in each frame, which its normaliser makes 0.
    both = Hippo(weights=(0.0, 0.5, 0.5)).score(flat)
    assert torch.equal(LocalHippo().score(Signals(60, grids, features=rows)), both)
    assert LocalHippo().needs < Hippo().needs
    with pytest.raises(RushesError, match="relevance must be 0"):
        LocalHippo(weights=(0.2, 0.4, 0.4))
