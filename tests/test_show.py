"""One vision pass and one prefill show what every scorer makes of a video, and it is what decoding does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

import rushes as package
from rushes.demo import bundled
from rushes.errors import RushesError
from rushes.methods import SCORERS, scorer
from rushes.models.base import VideoLM
from rushes.models.registry import adapt
from rushes.pair import Pair
from rushes.pruning.base import Scorer
from rushes.score_pictures import words
from rushes.seen_area import seen_area
from rushes.show import View, scorers, views
from rushes.signals import Signal, Signals
from rushes.tiles import frame_of
from tiny import PATCH, tiny_qwen2_5_vl, tiny_text_inputs, tiny_video_inputs
from tiny_llava import NEXT_SIDE, ONEVISION_SIDE, tiny_llava_next_video, tiny_llava_onevision

from transformers import LlavaNextVideoVideoProcessor, LlavaOnevisionVideoProcessor  # isort: skip

KEEP = 0.3


@dataclass(frozen=True, slots=True)
class Early(Scorer):
    """Reads the states behind a layer of its own, and attention beside them."""

    layer: int
    needs: ClassVar[frozenset[Signal]] = frozenset({Signal.EARLY_STATES, Signal.TEXT_ATTENTION})

    def early_layer(self, depth: int) -> int:
        return self.layer

    def score(self, signals: Signals) -> Tensor:
        assert signals.early_states is not None
        assert signals.text_attention is not None
        return signals.early_states[1].video.sum(-1) + signals.text_attention


class PerLayer(Scorer):
    needs = frozenset({Signal.LAYER_ATTENTION})
    per_layer = True

    def score(self, signals: Signals) -> Tensor:
        assert signals.layer_attention is not None
        return signals.layer_attention


@contextmanager
def passes(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    counts = {"encode": 0, "prefill": 0}

    def counted(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            counts[name] += 1
            return run(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in counts:
            patch.setattr(pair.target, name, counted(name, getattr(pair.target, name)))
        yield counts


@pytest.fixture(scope="module")
def pair() -> Pair:
    model = tiny_qwen2_5_vl(layers=4)
    return Pair(model, model)


@pytest.fixture(scope="module")
def inputs(pair: Pair) -> dict[str, Any]:
    return tiny_video_inputs(pair.target.model, grid=(5, 6, 10))


def test_each_scorer_keeps_what_it_keeps_when_decoding(
    pair: Pair, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {name: made for name in SCORERS if not (made := scorer(name)).per_layer}
    with passes(pair, monkeypatch) as counts:
        shown = views(pair.target, inputs, chosen, KEEP)
    assert counts == {"encode": 1, "prefill": 1}
    assert [view.name for view in shown] == list(chosen)
    for view in shown:
        method = f"{view.name}+chain+exact+sequential"
        kept = pair.generate_inputs(inputs, method=method, keep=KEEP, max_new_tokens=2).kept_indices
        assert view.kept.tolist() == kept
        assert view.grid == (5, 3, 5)
        assert view.share.reshape(-1).nonzero()[0].tolist() == kept
        assert (view.scores is None) == (not chosen[view.name].needs), "no made-up heat"
        assert (view.heat is None) == (view.scores is None)


def test_early_states_come_from_the_layer_that_each_asked_for(
    pair: Pair, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"three": Early(3), "specvlm": scorer("specvlm"), "one": Early(1), "again": Early(3)}
    with passes(pair, monkeypatch) as counts:
        shown = {view.name: view for view in views(pair.target, inputs, chosen, KEEP)}
    assert counts == {"encode": 1, "prefill": 2}, "one prefill for each early layer"
    for name, part in chosen.items():
        (alone,) = views(pair.target, inputs, {name: part}, KEEP)
        assert torch.equal(shown[name].scores, alone.scores)
        assert torch.equal(shown[name].kept, alone.kept)
    assert torch.equal(shown["three"].kept, shown["again"].kept)
    assert not torch.equal(shown["one"].scores, shown["three"].scores)


def test_what_needs_no_prefill_gets_none(pair: Pair, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with passes(pair, monkeypatch) as counts:
        views(pair.target, inputs, {"uniform": scorer("uniform")}, KEEP)
    assert counts["prefill"] == 0


def test_layers_that_choose_for_themselves(pair: Pair, inputs: dict[str, Any]) -> None:
    (view,) = views(pair.target, inputs, {"mine": PerLayer()}, KEEP)
    assert (view.layers, view.kept_tokens, view.video_tokens) == (4, 22, 75)
    counted = torch.zeros(75)
    for row in view.kept:
        counted[row] += 1
    assert torch.equal(torch.from_numpy(view.share).reshape(-1), counted / 4)
    assert view.share.sum() == pytest.approx(22)
    assert view.scores is not None
    assert view.heat == pytest.approx(view.scores.mean(0).reshape(5, 3, 5).numpy())
    title, (prompt, how) = words(view, "What is it?")
    assert title == "mine keeps 22 of 75 video tokens (29.3%) in each of 4 layers"
    assert prompt == "prompt: What is it?"
    assert "the more layers keep it" in how


def test_words_say_where_there_is_no_heat() -> None:
    kept = torch.tensor([0, 3])
    title, (_, how) = words(View("uniform", (1, 2, 4), None, kept), "?")
    assert title == "uniform keeps 2 of 8 video tokens (25.0%)"
    assert "uniform does not look at the video: there are no scores to draw" in how
    assert "scores of the same cells" in words(View("a", (1, 2, 4), torch.ones(8), kept), "?")[1][1]


def test_frames_that_count_as_videos_are_one_video(
    pair: Pair, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"uniform": scorer("uniform")}
    monkeypatch.setattr(pair.target, "grids", lambda _: ((1, 3, 5),) * 5)
    assert views(pair.target, inputs, chosen, KEEP)[0].grid == (5, 3, 5)
    monkeypatch.setattr(pair.target, "grids", lambda _: ((4, 3, 5), (1, 5, 3)))
    with pytest.raises(RushesError, match="several videos of different sizes"):
        views(pair.target, inputs, chosen, KEEP)


def test_nothing_kept_is_a_share_of_nothing() -> None:
    assert View("none", (2, 3, 1), None, torch.arange(0)).share.tolist() == [[[0], [0], [0]]] * 2


def test_names() -> None:
    assert list(scorers()) == [name for name in SCORERS if name not in ("full", "none")]
    assert list(scorers("specvlm, none,specvlm")) == ["specvlm", "none"]
    with pytest.raises(RushesError, match="no scorer given; known: full, none"):
        scorers(" ,")
    with pytest.raises(RushesError, match="unknown scorer 'specvml'; did you mean 'specvlm'"):
        scorers("uniform,specvml")


def test_what_cannot_be_shown(pair: Pair, inputs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"specvlm": scorer("specvlm")}
    with pytest.raises(RushesError, match="less than one"):
        views(pair.target, inputs, one, 0.001)
    with pytest.raises(RushesError, match="there is no video"):
        views(pair.target, tiny_text_inputs(pair.target.model), one, KEEP)
    monkeypatch.setattr(pair.target.text_config, "max_position_embeddings", 50)
    with pytest.raises(RushesError, match=r"the prompt has 89 tokens \(75 of them video\); the target holds 50"):
        views(pair.target, inputs, one, KEEP)


class TestCellsLieWhereTheModelSeesThem:
    """What changes in the drawn place of a cell changes that cell's features more than any other's."""

    @pytest.mark.parametrize("shape", [(84, 112), (112, 84), (63, 200)], ids=str)
    def test_qwen(self, shape: tuple[int, int]) -> None:
        pair = package.load(bundled.TARGET, dtype="float32")
        self.check(pair.target, pair.processor, 5, shape, 14)

    @pytest.mark.parametrize("shape", [(48, 64), (64, 48), (30, 90)], ids=str)
    def test_llava_next_video(self, shape: tuple[int, int]) -> None:
        side = NEXT_SIDE * PATCH
        crop = {"height": side, "width": side}
        self.check_llava(
            tiny_llava_next_video(), LlavaNextVideoVideoProcessor(size={"shortest_edge": side}, crop_size=crop), shape
        )

    @pytest.mark.parametrize("shape", [(48, 64), (64, 48), (30, 90)], ids=str)
    def test_llava_onevision(self, shape: tuple[int, int]) -> None:
        # Three pixels more than whole patches, as the real one has six.
        side = ONEVISION_SIDE * PATCH + 3
        model = tiny_llava_onevision()
        model.config.vision_config.image_size = side
        self.check_llava(model, LlavaOnevisionVideoProcessor(size={"height": side, "width": side}), shape)

    def check_llava(self, model: Any, video_processor: Any, shape: tuple[int, int]) -> None:
        for name, weights in model.model.vision_tower.named_parameters():
            if "out_proj" in name:
                weights.zero_()  # random attention would mix the patches at random
        self.check(adapt(model, "target"), SimpleNamespace(video_processor=video_processor), 3, shape, PATCH)

    def check(self, target: VideoLM, processor: Any, count: int, shape: tuple[int, int], patch: int) -> None:
        rng = np.random.default_rng(0)
        frames = np.full((count, *shape, 3), 128, np.uint8)

        def features(video: np.ndarray) -> tuple[Tensor, Any]:
            inputs = processor.video_processor([video], do_sample_frames=False, return_tensors="pt")
            found = target.encode(inputs).video
            assert found is not None
            return found, target.grids(inputs)[0]

        before, (t, h, w) = features(frames)
        left, top, right, bottom = seen_area(processor, *shape, patch)
        for index in rng.permutation(t * h * w)[:8].tolist():
            i, row, column = np.unravel_index(index, (t, h, w))
            changed = frames.copy()
            first = frame_of(int(i), t, count)
            y, y_end = (round(top + (bottom - top) * n / h) for n in (row, row + 1))
            x, x_end = (round(left + (right - left) * n / w) for n in (column, column + 1))
            changed[first, y:y_end, x:x_end] = (250, 20, 20)
            after, _ = features(changed)
            assert int((after - before).norm(dim=-1).argmax()) == index
