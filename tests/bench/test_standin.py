"""A stand-in has the cost of its shape and the function of the small model inside it."""

import copy
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from rushes.bench.standin import DEMO_SHAPES, Shape, parameters, standin_config, widen
from rushes.errors import RushesError
from tiny import VIDEO, tiny_qwen2_5_vl, tiny_video_inputs

TOKENS = 300
SAME = Shape(64, 4, 2, 128, 2, 96, 32, 2, 48, 2)  # the tiny model's own sizes
BIGGER = Shape(256, 16, 4, 320, 5, 160, 128, 8, 96, 5)  # every size grows, channels by a power of 4
SHAPES = {
    "the same": SAME,
    "wider": replace(SAME, hidden_size=128, num_attention_heads=8, intermediate_size=300),
    "deeper": replace(SAME, num_hidden_layers=5),
    "more heads per group": replace(SAME, hidden_size=96, num_attention_heads=6),
    "more key-value heads": replace(SAME, hidden_size=160, num_attention_heads=10, num_key_value_heads=5),
    "bigger vision tower": replace(
        SAME, vision_hidden_size=80, vision_num_heads=5, vision_intermediate_size=70, vision_depth=7
    ),
    "more rows in the vocabulary": replace(SAME, vocab_size=128),
    "everything": BIGGER,
}


@cache
def small_model(tied: bool = False, dtype: torch.dtype = torch.float32) -> Any:
    return tiny_qwen2_5_vl(seed=1, tied=tied, dtype=dtype)


@cache
def prompt_and_text(tied: bool = False) -> dict[str, Any]:
    """A video prompt followed by the small model's own greedy text."""
    model = small_model(tied)
    inputs = tiny_video_inputs(model, grid=(3, 6, 10))
    ids = model.generate(**inputs, do_sample=False, max_new_tokens=TOKENS)
    inputs["mm_token_type_ids"] = 2 * (ids == model.config.video_token_id).int()
    return inputs | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@torch.no_grad()
def logits(model: Any, tied: bool = False) -> Tensor:
    """(S, 96): trimmed to the small vocabulary, as callers must."""
    return model(**prompt_and_text(tied)).logits[0, :, : SAME.vocab_size].float()


def widened(shape: Shape = BIGGER, tied: bool = False, **options: Any) -> Any:
    model = small_model(tied)
    return widen(model, standin_config(model, shape), **options)


def test_the_greedy_text_is_varied() -> None:
    text = prompt_and_text()["input_ids"][0, -TOKENS:]
    assert len(text.unique()) > 25


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_logits_are_the_small_models(shape: Shape, tied: bool) -> None:
    big = widened(shape, tied)
    ours, theirs = logits(big, tied), logits(small_model(tied), tied)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert torch.equal(ours.argmax(-1), theirs.argmax(-1))
    assert (big.lm_head.weight is big.model.language_model.embed_tokens.weight) == tied


def test_a_tied_model_may_grow_into_an_untied_shape() -> None:
    config: Any = standin_config(small_model(tied=True), BIGGER)
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = False
    big = widen(small_model(tied=True), config)
    assert big.lm_head.weight is not big.model.language_model.embed_tokens.weight
    torch.testing.assert_close(logits(big, tied=True), logits(small_model(tied=True), tied=True), rtol=1e-4, atol=1e-4)


def test_norm_epsilons_are_scaled() -> None:
    small = copy.deepcopy(small_model())
    for module in small.modules():
        if hasattr(module, "variance_epsilon"):
            module.variance_epsilon = 0.5  # large enough to show
    big = widen(small, standin_config(small, BIGGER))
    assert (logits(small) - logits(small_model())).abs().max() > 0.1
    torch.testing.assert_close(logits(big), logits(small), rtol=1e-4, atol=1e-4)


def test_one_extra_projection_that_writes_changes_the_logits() -> None:
    """The negative control of the tests above."""
    big = widened()
    with torch.no_grad():
        big.model.language_model.layers[0].self_attn.o_proj.weight.normal_(std=0.02)
    assert (logits(big) - logits(small_model())).abs().max() > 1e-2


def test_the_noise_has_no_part_in_the_logits() -> None:
    assert torch.equal(logits(widened(seed=1)), logits(widened(seed=2)))


def test_generation_with_a_cache_gives_the_same_text() -> None:
    big = widened(replace(BIGGER, vocab_size=SAME.vocab_size))
    inputs = tiny_video_inputs(big, seed=3)
    options = {"do_sample": False, "max_new_tokens": 40}
    assert torch.equal(big.generate(**inputs, **options), small_model().generate(**inputs, **options))


def test_widening_by_a_power_of_four_rounds_no_bf16_weight() -> None:
    """Norm factors are powers of 2 there, so in fp32 arithmetic nothing but the order of sums is left."""
    small = copy.deepcopy(small_model(dtype=torch.bfloat16))
    big = widen(small, standin_config(small, BIGGER))
    torch.testing.assert_close(logits(big.float()), logits(small.float()), rtol=1e-4, atol=1e-4)


def assert_equal_up_to_rounding(ours: Tensor, theirs: Tensor, exact: Tensor) -> None:
    """Two bf16 models agree as well as either agrees with fp32 arithmetic; ties of a random model included.

    Args: fp32 copies of the logits (S, V) of the widened and the small bf16 model, and those of the small fp32 one.
    """
    rounding = (exact - theirs).abs()
    assert (ours - theirs).abs().mean() < 1.5 * rounding.mean()
    differs = ours.argmax(-1) != theirs.argmax(-1)
    assert differs.float().mean() < 0.08
    top = theirs.topk(2, dim=-1).values
    assert (top[differs, 0] - top[differs, 1] <= rounding.max()).all()


@pytest.mark.parametrize("channels", [128, 256])
def test_in_bf16_only_near_ties_differ(channels: int) -> None:
    shape = replace(BIGGER, hidden_size=channels, num_attention_heads=channels // 16)
    ours, theirs = logits(widened(shape, dtype=torch.bfloat16)), logits(small_model(dtype=torch.bfloat16))
    assert_equal_up_to_rounding(ours, theirs, logits(small_model()))


def test_nothing_writes_into_the_extra_channels_and_extra_layers_write_nothing() -> None:
    big, channels, vision_channels = widened(), SAME.hidden_size, SAME.vision_hidden_size
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(name: str) -> Any:
        return lambda module, args, output: seen.__setitem__(name, (args[0], output))

    layers, blocks = big.model.language_model.layers, big.model.visual.blocks
    hooks = [layer.register_forward_hook(keep(f"layer {i}")) for i, layer in enumerate(layers)]
    hooks += [block.register_forward_hook(keep(f"block {i}")) for i, block in enumerate(blocks)]
    hooks.append(big.model.visual.merger.register_forward_hook(keep("merger")))
    logits(big)
    for hook in hooks:
        hook.remove()
    for name, (entering, leaving) in seen.items():
        used = vision_channels if name.startswith("block") else channels
        assert leaving[..., used:].abs().max() == 0, name
        assert leaving[..., :used].abs().mean() > 1e-3, name
        if name.startswith(("layer", "block")):
            assert entering[..., used:].abs().max() == 0, name
    idle = {name for name, (entering, leaving) in seen.items() if torch.equal(entering, leaving)}
    # Trained text layers end segments of 5 / 2 layers; the tower's window block is 0 and its full one 4.
    assert idle == {"layer 0", "layer 2", "layer 3", "block 1", "block 2", "block 3"}


def test_the_extra_heads_and_layers_see_what_the_trained_ones_see() -> None:
    """Mean attention over heads is the small model's, layer by layer, so that scorers rank video tokens alike."""
    small, big = copy.deepcopy(small_model()), widened()
    inputs, attentions = tiny_video_inputs(small), []
    for model in (small, big):
        model.set_attn_implementation("eager")
        with torch.no_grad():
            attentions.append(model(**inputs, output_attentions=True).attentions)
    trained = [0, 0, 1, 1, 1]
    for index, layer in enumerate(trained):
        torch.testing.assert_close(attentions[1][index].mean(1), attentions[0][layer].mean(1), rtol=1e-4, atol=1e-6)


def test_window_and_full_vision_blocks_keep_their_kind_and_order() -> None:
    small = tiny_qwen2_5_vl(seed=4, vision_layers=3, fullatt=(0, 2))
    config: Any = standin_config(small, replace(BIGGER, vision_depth=8))
    config.vision_config.fullatt_block_indexes = [1, 3, 5, 7]
    big = widen(small, config)
    working = [i for i, block in enumerate(big.model.visual.blocks) if block.attn.proj.weight.any()]
    assert working == [1, 2, 3]
    inputs = tiny_video_inputs(small, grid=(3, 6, 10))
    with torch.no_grad():
        ours, theirs = big(**inputs).logits[..., : SAME.vocab_size], small(**inputs).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_matrices_that_may_be_noise_are_full_and_nothing_is_denormal(dtype: torch.dtype) -> None:
    big = widened(dtype=dtype)
    writers = ("o_proj", "down_proj", "attn.proj", "merger.mlp.2", "embed_tokens", "patch_embed")
    for name, weight in big.named_parameters():
        nonzero = weight[weight != 0].abs().float()
        assert weight.dtype == dtype
        assert not len(nonzero) or nonzero.min() >= torch.finfo(torch.float32).tiny, name
        if not any(writer in name for writer in writers):
            assert len(nonzero) > 0.99 * weight.numel(), name
    zeros = sum(int((weight == 0).sum()) for weight in big.parameters())
    assert zeros < parameters(big) / 2


def test_the_result_is_a_complete_model_of_the_configs_size() -> None:
    small, config = small_model(), standin_config(small_model(), BIGGER)
    before = config.to_dict()
    big = widen(small, config, seed=5)
    assert config.to_dict() == before
    assert parameters(big) == parameters(type(small)(config))
    tensors = [*big.parameters(), *big.buffers()]
    assert not any(tensor.is_meta or tensor.requires_grad for tensor in tensors)
    assert len(list(big.buffers())) == len(list(small.buffers()))
    assert not big.training
    assert big.generation_config.to_dict() == small.generation_config.to_dict()
    assert big.generation_config is not small.generation_config
    again, other = widen(small, config, seed=5), widen(small, config, seed=6)
    states = [torch.nn.utils.parameters_to_vector(model.parameters()) for model in (big, again, other)]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_what_is_not_a_size_comes_from_the_small_model() -> None:
    config: Any = standin_config(small_model(), BIGGER)
    config.text_config.rope_parameters = dict(config.text_config.rope_parameters, rope_theta=77.0)
    config.text_config.rms_norm_eps = 0.1
    config.vision_config.tokens_per_second = 9
    config.vision_config.window_size = 999
    config.video_token_id = 50
    big = widen(small_model(), config)
    kept: Any = big.config
    assert (kept.vision_config.tokens_per_second, kept.video_token_id) == (2, VIDEO)
    torch.testing.assert_close(logits(big), logits(small_model()), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("role", "low", "high"), [("target", 200e6, 240e6), ("draft", 18e6, 22e6)])
def test_a_demo_shape_has_its_size_and_repeats_a_model_of_the_bundled_shape(role: str, low: float, high: float) -> None:
    sizes: dict[str, Any] = {"hidden": 128, "heads": 1, "intermediate": 256, "vision_hidden": 80, "vision_heads": 1}
    if role == "target":
        sizes = {"hidden": 256, "heads": 2, "intermediate": 768, "layers": 6, "vision_hidden": 160, "vision_heads": 2}
        sizes |= {"vision_layers": 4, "fullatt": (1, 3), "vision_intermediate": 384}
    small = tiny_qwen2_5_vl(seed=2, kv_heads=1, tied=True, vocab=640, dtype=torch.bfloat16, **sizes)
    big = widen(small, standin_config(small, DEMO_SHAPES[role]))
    assert low < parameters(big) < high
    assert parameters(big.model.visual) < (0.1 if role == "target" else 0.25) * parameters(big)
    inputs = tiny_video_inputs(small, text_after=100)
    with torch.no_grad():
        ours, theirs, exact = (
            model(**inputs).logits[0, :, :640].float() for model in (big, small, copy.deepcopy(small).float())
        )
    assert_equal_up_to_rounding(ours, theirs, exact)


@pytest.mark.parametrize("field", asdict(SAME))
def test_a_size_below_the_small_models_is_refused(field: str) -> None:
    config: Any = standin_config(small_model(), SAME)
    name, size = field.removeprefix("vision_"), getattr(SAME, field)
    setattr(config.text_config if name == field else config.vision_config, name, size - 1)
    with pytest.raises(RushesError, match=rf"\.{name} is {size - 1}; it must be at least {size}"):
        widen(small_model(), config)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        (
            "text_config",
            {"num_attention_heads": 8},
            r"text_config.hidden_size is 256; it must be 128 \(8 heads of 16\)",
        ),
        ("text_config", {"num_key_value_heads": 3}, "num_key_value_heads is 3; it must be a divisor of 16"),
        ("text_config", {"num_key_value_heads": 16}, "num_key_value_heads is 16; it must be at most 8"),
        ("vision_config", {"hidden_size": 144}, r"vision_config.hidden_size is 144; it must be 128 \(8 heads of 16\)"),
        ("vision_config", {"out_hidden_size": 512}, "out_hidden_size is 512; it must be 256"),
        ("vision_config", {"fullatt_block_indexes": [0]}, r"fullatt_block_indexes is \[0\].* full-attention block 1"),
        ("vision_config", {"fullatt_block_indexes": [0, 1, 2, 3, 4]}, "no free block .* window-attention block 0"),
        ("", {"tie_word_embeddings": True}, "tie_word_embeddings is True; it must be False"),
    ],
)
def test_a_shape_that_cannot_hold_the_model_is_refused(part: str, changes: dict[str, Any], message: str) -> None:
    config: Any = standin_config(small_model(), BIGGER)
    for name, value in changes.items():
        setattr(getattr(config, part) if part else config, name, value)
    with pytest.raises(RushesError, match=message):
        widen(small_model(), config)


def test_other_families_and_sliding_windows_are_refused() -> None:
    config: Any = standin_config(small_model(), BIGGER)
    with pytest.raises(RushesError, match=r"config is of type 'qwen2_5_vl_text'; only 'qwen2_5_vl'"):
        widen(small_model(), config.text_config)
    small = copy.deepcopy(small_model())
    small.config.text_config.layer_types = ["full_attention", "sliding_attention"]
    with pytest.raises(RushesError, match="use_sliding_window is True; it must be False"):
        widen(small, config)
