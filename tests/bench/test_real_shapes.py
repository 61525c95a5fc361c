"""Stand-ins at published sizes: what they say is what the bundled pair says, and they have the size they claim."""

import copy
import weakref
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from checkpoints import config, variant
from rushes._transformers import transformers
from rushes.bench import real_shapes, room
from rushes.bench.planning import shapes
from rushes.bench.real_shapes import StandIn, find, pair_of, stand_in, stand_ins
from rushes.bench.standin import outline, parameters, widen
from rushes.bench.towers import Tower, bundled_towers, tower_of
from rushes.demo import bundled
from rushes.errors import RushesError
from rushes.loading import load_model
from rushes.pair import Pair
from rushes.result import Result

QWEN_7B, QWEN_3B = "Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen2.5-VL-3B-Instruct"
LLAVA_05B = "llava-hf/llava-onevision-qwen2-0.5b-ov-hf"


@cache
def small(role: str) -> Any:
    return load_model({"target": bundled.TARGET, "draft": bundled.DRAFT}[role], "cpu", "float32")


@cache
def small_pair() -> Pair:
    return bundled.pair()


@cache
def fitted(name: str, role: str = "target") -> StandIn:
    return stand_in(small(role), name, role)


def qwen2_5(folder: Path, *, hidden: int, heads: int, kv_heads: int, layers: int, depth: int) -> str:
    """A folder with a config and nothing else. Untied, a bigger vocabulary, another number of full-attention blocks."""
    text = {"hidden_size": hidden, "num_attention_heads": heads, "num_key_value_heads": kv_heads, "vocab_size": 1000}
    text |= {"num_hidden_layers": layers, "layer_types": ["full_attention"] * layers, "intermediate_size": 900}
    vision = {"hidden_size": 240, "num_heads": 3, "depth": depth, "intermediate_size": 404, "out_hidden_size": hidden}
    vision["fullatt_block_indexes"] = list(range(1, depth, 2))
    made = config(bundled.TARGET, text, vision, tie_word_embeddings=False)
    drop = tuple(file.name for file in Path(bundled.TARGET).iterdir())
    return str(variant(folder, bundled.TARGET, drop=drop, config_json=made))


def qwen3(folder: Path, *, hidden: int, heads: int, kv_heads: int, layers: int, depth: int) -> str:
    """Its heads do not add up to its channels, and its tower has heads of 72 channels, no windows and plain MLPs."""
    transformers.Qwen3VLConfig(
        text_config={
            "hidden_size": hidden,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "head_dim": 128,
            "num_hidden_layers": layers,
            "intermediate_size": 900,
            "vocab_size": 1000,
        },
        vision_config={"hidden_size": 216, "num_heads": 3, "depth": depth, "intermediate_size": 864},
        tie_word_embeddings=True,
    ).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module", params=[qwen2_5, qwen3])
def spec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two tiny "published" shapes of one family."""
    root = tmp_path_factory.mktemp(request.param.__name__)
    target = request.param(root / "target", hidden=512, heads=4, kv_heads=2, layers=7, depth=6)
    heads = 2 if request.param is qwen2_5 else 4
    return f"{target},{request.param(root / 'draft', hidden=256, heads=heads, kv_heads=2, layers=3, depth=5)}"


@pytest.fixture(scope="module")
def big(spec: str) -> Pair:
    return pair_of(spec, "cpu", torch.float32)


def answer(pair: Pair, video: Path, method: str) -> Result:
    return pair.generate(video, "Describe the video in detail.", method=method, max_new_tokens=40)


@pytest.mark.parametrize("method", ["ar", "uniform+chain+exact+sequential"])
def test_a_stand_in_says_and_accepts_what_the_bundled_pair_does(big: Pair, video: Path, method: str) -> None:
    ours, theirs = answer(big, video, method), answer(small_pair(), video, method)
    assert len(ours.token_ids) > 20
    assert ours.token_ids == theirs.token_ids
    assert ours.metrics.get("accepted_per_round") == theirs.metrics.get("accepted_per_round")


def test_a_stand_in_has_the_published_sizes(big: Pair, spec: str) -> None:
    for model, name in zip((big.target.model, big.draft.model), spec.split(","), strict=True):  # type: ignore[union-attr]
        shape, tower = find(name)
        attention, visual = model.model.language_model.layers[-1].self_attn, model.model.visual
        assert len(model.model.language_model.layers) == shape.layers
        assert attention.q_proj.weight.shape == (shape.heads * 128, shape.hidden)
        assert attention.v_proj.weight.shape == (shape.kv_heads * 128, shape.hidden)
        assert attention.o_proj.weight.shape == (shape.hidden, shape.heads * 128)
        assert model.lm_head.weight.shape == (1000, shape.hidden)
        assert (model.lm_head.weight is model.get_input_embeddings().weight) == shape.tied
        assert (len(visual.blocks), visual.blocks[0].attn.proj.in_features) == (tower.depth, 240)
        if tower.full_attention:
            assert visual.config.fullatt_block_indexes == list(tower.full_attention)
            assert visual.blocks[0].mlp.gate_proj.out_features == tower.intermediate
        assert not any(one.is_meta for one in [*model.parameters(), *model.buffers()])


def test_the_cache_has_room_for_the_context_and_heads_of_their_own_size(big: Pair, spec: str) -> None:
    one = stand_ins(spec)[0]
    cache_bytes = one.bytes(300, torch.float32) - one.bytes(0, torch.float32)
    assert cache_bytes == big.target.new_cache(300).bytes
    assert one.bytes(0, torch.float32) == 4 * parameters(big.target.model)
    assert big.target.context_length == real_shapes.CONTEXT


@pytest.mark.parametrize("name", shapes.bundled_names())
def test_every_bundled_shape_has_its_published_size(name: str) -> None:
    """Published, in billions: Qwen2.5-VL 73.4, 33.5, 8.29, 3.75; Qwen3-VL 33.4, 8.77, 4.44, 2.13; OV 73.2, 8.03, 0.89.

    On the meta device: nothing is allocated.
    """
    one = fitted(name)
    model = outline(one.small, one.config, dtype=torch.bfloat16)
    assert all(weight.is_meta for weight in model.parameters())
    assert parameters(model) == pytest.approx(shapes.published_parameters()[name], rel=0.03)
    # What is exact is exact: the language model's matrices, which are nearly all of it.
    layers = model.model.language_model.layers
    matrices = sum(weight.numel() for weight in layers.parameters() if weight.dim() == 2)
    assert matrices == one.shape.layer_parameters
    assert model.lm_head.weight.numel() == one.shape.head_parameters
    tower, wanted = model.model.visual, one.shape
    if wanted.family == "qwen2_5_vl":
        assert len(one.notes) == 1
        assert parameters(tower) == pytest.approx(wanted.vision_parameters + wanted.projector_parameters, rel=0.01)
    else:
        merger = parameters(tower.merger)
        per_token = 4 * (parameters(tower) - merger) + merger
        assert per_token == pytest.approx(4 * wanted.vision_parameters + wanted.projector_parameters, rel=0.01)


@pytest.mark.parametrize("name", shapes.bundled_names())
def test_the_towers_of_the_table_sum_to_its_counts(name: str) -> None:
    shape, tower = find(name)
    assert tower == bundled_towers()[name]
    matrices = 3 if shape.family == "qwen2_5_vl" else 2
    blocks = tower.depth * (4 * tower.hidden**2 + matrices * tower.hidden * tower.intermediate)
    assert blocks == pytest.approx(shape.vision_parameters, rel=0.01)


def test_what_cannot_be_met_is_said() -> None:
    notes = fitted(LLAVA_05B).notes
    assert notes[0].startswith(f"target: shapes of {LLAVA_05B}, architecture of the bundled family (Qwen2.5-VL): 0.9")
    assert (
        notes[1] == "target: 7 heads (1 of them key-value) of 128 channels in place of 14 (2 of them key-value) of 64"
    )
    assert "vision tower of 26 blocks, 1200 channels" in notes[2]
    assert len(notes) == 3


def test_sizes_below_the_bundled_ones_become_those(tmp_path: Path) -> None:
    folder = qwen2_5(tmp_path / "flat", hidden=256, heads=2, kv_heads=2, layers=3, depth=6)
    one = fitted(folder)
    assert "target: layers 6 in place of 3" in one.notes
    assert any("4 heads (2 of them key-value) of 128 channels in place of 2 (2 of" in note for note in one.notes)
    assert parameters(outline(one.small, one.config)) > 0


def test_heads_of_another_size_than_the_trained_are_refused() -> None:
    made = copy.deepcopy(fitted(QWEN_3B).config)
    made.text_config.head_dim = 64
    with pytest.raises(RushesError, match=r"text_config.head_dim is 64; it must be 128, as trained"):
        outline(small("target"), made)


def test_a_tower_of_qwen2_vl_is_read_from_its_own_channels() -> None:
    made = transformers.Qwen2VLConfig()
    assert made.vision_config.hidden_size != made.vision_config.embed_dim == 1280
    assert tower_of(made) == Tower(1280, 16, 32, 5120)
    assert shapes.from_config(made, "a config").vision_parameters == pytest.approx(630e6, rel=0.01)


class Live(TorchDispatchMode):
    """Bytes of all tensors that operations have made and that still live, at their most; `known` was there before."""

    def __init__(self, known: Any) -> None:
        super().__init__()
        self.seen = {one.untyped_storage()._cdata for one in (*known.parameters(), *known.buffers())}
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in tree_iter(out):
            if isinstance(one, torch.Tensor) and not one.is_meta:
                storage = one.untyped_storage()
                if storage._cdata not in self.seen:
                    self.seen.add(storage._cdata)
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return out

    def _gone(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.now -= size


def test_building_takes_the_model_and_one_layer(spec: str) -> None:
    one = stand_ins(spec)[0]
    with Live(one.small) as live:
        model = widen(one.small, one.config, dtype=torch.bfloat16)
    layer = model.model.language_model.layers[0]
    total, one_layer = room.weight_bytes(model), room.weight_bytes(layer)
    assert total <= live.now <= 1.01 * total
    assert live.peak < live.now + one_layer


def test_too_little_memory_is_refused_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_bytes", lambda _: 79 * room.GIB)
    monkeypatch.setattr(real_shapes, "widen", lambda *_, **__: pytest.fail("something was built"))
    spec = f"Qwen/Qwen2.5-VL-32B-Instruct,{QWEN_7B}"
    with pytest.raises(RushesError, match=r"at 32768 tokens needs (87|88|89)\.\d GiB, 79\.0 GiB free on cpu: take"):
        pair_of(spec, context=32768)
    with pytest.raises(RushesError, match=r"needs 1[56]\d\.\d GiB"):
        pair_of(spec, dtype=torch.float32, context=1)


def test_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 2**20 < room.free_bytes(torch.device("cpu")) < 2**50
    for name, value in (("mem_get_info", (70, 80)), ("memory_reserved", 9), ("memory_allocated", 4)):
        monkeypatch.setattr(torch.cuda, name, lambda _, value=value: value)
    assert room.free_bytes(torch.device("cuda:0")) == 75


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("Qwen/Qwen2.5-VL-8B-Instruct," + QWEN_3B, "unknown shape 'Qwen/Qwen2.5-VL-8B-Instruct'; did you mean '"),
        (f"{QWEN_7B},qwen2.5-vl-3b", "unknown shape 'qwen2.5-vl-3b'; did you mean '"),
        (f"{QWEN_3B},{QWEN_7B}", "draft is larger than the target: .*7B-Instruct has 8.*; swap them"),
        (f"{QWEN_7B},{LLAVA_05B}", "cannot draft for"),
        (QWEN_7B, "TARGET,DRAFT"),
        (f"{QWEN_7B},", "TARGET,DRAFT"),
        ("a,b,c", "TARGET,DRAFT"),
        ("", "TARGET,DRAFT"),
    ],
)
def test_bad_specs_are_refused_in_one_line(spec: str, message: str) -> None:
    with pytest.raises(RushesError, match=message) as error:
        pair_of(spec)
    assert "\n" not in str(error.value)


def test_bad_places_and_contexts_are_refused(tmp_path: Path) -> None:
    good = f"{QWEN_7B},{QWEN_3B}"
    with pytest.raises(RushesError, match="unknown device 'gpu'"):
        pair_of(good, "gpu")
    with pytest.raises(RushesError, match="context must be 1 token or more, got 0"):
        pair_of(good, context=0)
    with pytest.raises(RushesError, match="it has no config"):
        pair_of(f"{tmp_path},{QWEN_3B}")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_3b_shape_on_a_gpu(video: Path) -> None:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    pair = pair_of(f"{QWEN_3B},{QWEN_3B}", "cuda:0")
    assert pair.draft is not None
    weights = sum(room.weight_bytes(model.model) for model in (pair.target, pair.draft))
    assert torch.cuda.max_memory_allocated() - before < weights + 2**30
    ar, sd = answer(pair, video, "ar"), answer(pair, video, "uniform+chain+exact+sequential")
    assert len(ar.token_ids) > 20
    assert sd.metrics["accepted_per_round"] > 0
