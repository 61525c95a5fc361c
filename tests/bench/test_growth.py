"""The cost of a token over longer caches: for every family, and the curves are what was measured."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes

from families import FAMILIES
from rushes import Pair, RushesError
from rushes.bench import growth, plots


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_measured_behind_every_length(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(FAMILIES[family].make(0), FAMILIES[family].make(1))
    seen: list[int] = []
    original = type(pair.target).forward

    def spy(self: Any, embeds: Any, positions: Any, cache: Any, *rest: Any, **more: Any) -> Any:
        seen.append(cache.length)
        return original(self, embeds, positions, cache, *rest, **more)

    monkeypatch.setattr(type(pair.target), "forward", spy)
    made, reason = growth.growth(pair, 0.5, (8, 64))
    assert reason is None
    assert [row["video_tokens"] for row in made] == [8, 64]
    assert all(row[name] > 0 for row in made for name in ("target", "draft", "draft_pruned"))
    assert set(seen) == {growth.TEXT + tokens for tokens in (8, 4, 64, 32)}


def test_without_a_draft_there_is_one_curve() -> None:
    made, _ = growth.growth(Pair(FAMILIES["qwen2_5_vl"].make(0)), 0.5, (8,))
    assert set(made[0]) == {"video_tokens", "keep", "target"}
    assert set(plots.curves(made)) == {"target"}


def test_the_plot_draws_the_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        {"video_tokens": 2**i, "keep": 0.1, "target": 0.01 * i, "draft": 0.002 * i, "draft_pruned": 0.001}
        for i in range(8, 12)
    ]
    drawn: list[tuple[list[int], list[float]]] = []
    original = Axes.plot

    def spy(self: Axes, x: Any, y: Any, **more: Any) -> Any:
        drawn.append((x, y))
        return original(self, x, y, **more)

    monkeypatch.setattr(Axes, "plot", spy)
    files = plots.draw_all({"rows": [], "growth": points}, tmp_path)
    assert len(files) == 1
    assert drawn == list(plots.curves(points).values())
    assert drawn[0][1] == pytest.approx([80, 90, 100, 110])


def test_a_length_without_memory_ends_the_curve_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(FAMILIES["qwen2_5_vl"].make(0))
    original = pair.target.new_cache

    def small(capacity: int) -> Any:
        if capacity > 60:
            raise RushesError("no memory for the cache")
        return original(capacity)

    monkeypatch.setattr(pair.target, "new_cache", small)
    made, reason = growth.growth(pair, 0.5, (8, 64, 16))
    assert [row["video_tokens"] for row in made] == [8]
    assert reason == "64 video tokens: no memory for the cache"
