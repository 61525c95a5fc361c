"""The pictures light exactly the kept tokens, show their scores beneath, and are whole or not there."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rushes.errors import RushesError
from rushes.heat import colours, limits
from rushes.lettering import font_for
from rushes.pictures import MAX_TILES, draw_kept, draw_page
from rushes.strip import BAR, EVEN, bar_edges
from rushes.tiles import frame_of, heated, lit, seen

RED = (200, 0, 0)


def packed(colours: object) -> np.ndarray:
    """(..., 3) colours as one number each."""
    return np.asarray(colours).astype(np.int32) @ np.array([1, 256, 65536], np.int32)


def pixels_of(path: Path) -> np.ndarray:
    return packed(Image.open(path))


def box_of(pixels: np.ndarray, colour: object) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of all pixels of a colour."""
    there = pixels == packed(colour)
    rows, columns = np.flatnonzero(there.any(1)), np.flatnonzero(there.any(0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def shaded(count: int, height: int, width: int) -> np.ndarray:
    """Frames of one strong colour each."""
    frames = np.zeros((count, height, width, 3), np.uint8)
    frames[:] = np.array([shade(i) for i in range(count)], np.uint8)[:, None, None]
    return frames


def shade(number: int) -> tuple[int, int, int]:
    return (200, number, 0)


class TestCells:
    @pytest.mark.parametrize(
        ("cells", "size"), [((3, 4), (5, 7)), ((1, 1), (9, 3)), ((7, 5), (1, 1)), ((2, 3), (13, 17))]
    )
    def test_cells_are_lit_up_to_their_borders(self, cells: tuple[int, int], size: tuple[int, int]) -> None:
        rng = np.random.default_rng(0)
        (h, w), (a, b) = cells, size
        pixels = rng.integers(0, 160, (h * a, w * b, 3)).astype(np.uint8)
        for _ in range(20):
            share = (rng.random(cells) < 0.5) * 1.0
            tile = lit(pixels, share)
            for row in range(h):
                for column in range(w):
                    here = np.s_[row * a : (row + 1) * a, column * b : (column + 1) * b]
                    same = (tile[here] == pixels[here]).all(-1)
                    assert same.all() if share[row, column] else not same.any()

    def test_dropped_cells_are_pale_and_kept_ones_framed(self) -> None:
        tile = lit(np.zeros((30, 60, 3), np.uint8), np.array([[1.0, 0.0]]))
        assert (tile[:, :30] == 0).all()
        assert (tile[:, 30:32] == 20).all(), "the line is on the dropped side"
        assert (tile[:, 32:] == 165).all()

    def test_brightness_is_the_share_of_the_layers(self) -> None:
        shares = np.array([[0.0, 0.25, 0.4]])  # under a half: no lines
        tile = lit(np.zeros((6, 18, 3), np.uint8), shares)
        assert [int(tile[0, x, 0]) for x in (0, 6, 12)] == [165, round(0.75 * 165), 99]
        assert (lit(np.zeros((6, 12, 3), np.uint8), np.array([[0.5, 0.4]]))[:, 6] == 20).all()

    @pytest.mark.parametrize(("cells", "size"), [((3, 4), (5, 7)), ((2, 3), (1, 1))])
    def test_heat_fills_its_cells(self, cells: tuple[int, int], size: tuple[int, int]) -> None:
        scores = np.random.default_rng(1).random(cells)
        tile = heated(scores, size, 0.1, 0.9)
        assert tile.shape == (cells[0] * size[0], cells[1] * size[1], 3)
        for row, column in np.ndindex(*cells):
            here = tile[row * size[0] : (row + 1) * size[0], column * size[1] : (column + 1) * size[1]]
            assert (here == colours(scores[row, column], 0.1, 0.9)).all()

    def test_a_frame_for_each_row_of_cells(self) -> None:
        assert [frame_of(i, 3, 6) for i in range(3)] == [0, 2, 4], "two frames make a row"
        assert [frame_of(i, 3, 5) for i in range(3)] == [0, 2, 4], "the odd last one is shown twice"
        assert [frame_of(i, 4, 4) for i in range(4)] == [0, 1, 2, 3]
        assert frame_of(0, 1, 1) == 0

    def test_only_the_area_that_the_model_sees(self) -> None:
        frame = np.zeros((40, 80, 3), np.uint8)
        frame[:, 20:60] = RED
        assert (seen(frame, (20.0, 0.0, 60.0, 40.0), (40, 40)) == RED).all()
        assert (seen(frame, (0.0, 0.0, 40.0, 40.0), (40, 40))[:, :20] == 0).all()
        padded = seen(frame, (20.0, -20.0, 60.0, 60.0), (80, 40))
        assert (padded[22:58] == RED).all()
        assert (padded[:18] == 0).all(), "black where the processor pads"
        assert (padded[62:] == 0).all()


class TestHeat:
    def test_the_ramp_goes_from_dark_to_bright(self) -> None:
        ramp = colours(np.linspace(2, 4, 33), 2, 4).astype(int)
        assert tuple(ramp[0]) == (68, 1, 84)
        assert tuple(ramp[-1]) == (253, 231, 37)
        brightness = ramp @ (0.299, 0.587, 0.114)
        assert (np.diff(brightness) > 0).all()
        assert (colours(np.array([1.0, np.nan, 9.0]), 2, 4) == ramp[[0, 0, -1]]).all()

    def test_numbers_without_a_range_are_dark(self) -> None:
        assert (colours(np.full(3, 5.0), 5, 5) == (68, 1, 84)).all()
        assert limits(np.array([np.nan, np.inf])) == (0, 0)

    def test_a_few_towering_scores_do_not_darken_the_others(self) -> None:
        scores = np.append(np.linspace(0, 1, 999), 1000.0)
        low, high = limits(scores)
        assert low == 0
        assert 0.95 < high < 1.05
        assert limits(np.array([1.0, np.nan, 3.0]))[0] == 1


class TestPages:
    @pytest.mark.parametrize("kept", [[], [0], [5, 17, 18, 40, 71], list(range(72))], ids=len)
    @pytest.mark.parametrize(
        ("grid", "shape"),
        [
            ((6, 3, 4), (63, 85)),
            ((3, 4, 6), (85, 63)),
            ((2, 6, 6), (20, 200)),
            ((24, 3, 1), (200, 20)),
            ((72, 1, 1), (63, 85)),
        ],
        ids=str,
    )
    def test_lit_cells_are_the_kept_tokens(
        self, tmp_path: Path, kept: list[int], grid: tuple[int, int, int], shape: tuple[int, int]
    ) -> None:
        t, h, w = grid
        frames = shaded(2 * t, *shape)
        draw_kept(frames, grid, range(72), tmp_path / "all.png", title="all", seconds=np.arange(2 * t) / 2)
        draw_kept(frames, grid, kept, tmp_path / "kept.png", title="which", seconds=np.arange(2 * t) / 2)
        where, drawn = pixels_of(tmp_path / "all.png"), pixels_of(tmp_path / "kept.png")
        assert where.shape == drawn.shape
        rows = range(t) if t <= MAX_TILES else {i * (t - 1) // (MAX_TILES - 1) for i in range(MAX_TILES)}
        for row in rows:
            colour = shade(2 * row)  # the first frame of each pair
            top, left, bottom, right = box_of(where, colour)
            assert (where[top:bottom, left:right] == packed(colour)).all(), "nothing lies over a frame"
            assert (bottom - top) % h == (right - left) % w == 0, "cells of whole pixels"
            cells = (drawn[top:bottom, left:right] == packed(colour)).reshape(
                h, (bottom - top) // h, w, (right - left) // w
            )
            found = {row * h * w + int(i) for i in np.flatnonzero(cells.all((1, 3)))}
            assert found == {i for i in kept if i // (h * w) == row}
            assert not cells.any((1, 3)).reshape(-1)[[i for i in range(h * w) if row * h * w + i not in kept]].any()

    @pytest.mark.parametrize("grid", [(5, 3, 4), (2, 7, 3)], ids=str)
    def test_the_heat_lies_beneath_the_same_cells(self, tmp_path: Path, grid: tuple[int, int, int]) -> None:
        t, h, w = grid
        frames = shaded(t, 63, 85)
        heat = np.random.default_rng(2).random(grid)
        draw_page(frames, np.ones(grid), tmp_path / "a.png", heat=heat, title="t", lines=("one", "two"))
        drawn = pixels_of(tmp_path / "a.png")
        low, high = limits(heat)
        for row in range(t):
            top, left, bottom, right = box_of(drawn, shade(row))
            below = drawn[bottom + 3 : 2 * bottom + 3 - top, left:right]
            assert (below == packed(heated(heat[row], ((bottom - top) // h, (right - left) // w), low, high))).all()

    def test_the_bars_are_the_shares_of_the_frames(self, tmp_path: Path) -> None:
        share = np.zeros((4, 2, 5))
        share.reshape(4, 10)[[0] * 8 + [1] * 4 + [3] * 4, [*range(8), *range(4), *range(4)]] = 1
        draw_page(np.full((4, 20, 50, 3), 250, np.uint8), share, tmp_path / "a.png")
        drawn = pixels_of(tmp_path / "a.png")
        bars, line = drawn == packed(BAR), drawn == packed(EVEN)
        top, left, bottom, right = box_of(drawn, BAR)
        level = int(np.argmax(line.sum(1)))
        bars[level] |= line[level]  # it crosses the bars
        heights = [int(bars[:, left + (right - left) * (2 * i + 1) // 8].sum()) for i in range(4)]
        full = bottom - top
        assert heights[0] == full
        assert heights[2] <= 1, "only the line"
        assert heights[1] == pytest.approx(full / 2, abs=1)
        assert heights[3] == heights[1]
        assert bottom - level == pytest.approx(full * 0.4 / 0.8, abs=1), "the even share is the mean"

    @pytest.mark.parametrize("bars", [1, 7, 500, 3000])
    def test_every_bar_has_a_place(self, bars: int) -> None:
        edges = [bar_edges(10, 710, bars, i) for i in range(bars)]
        assert edges[0][0] == 10
        assert all(end > x for x, end in edges)
        assert all(before[0] <= after[0] for before, after in pairwise(edges))
        assert edges[-1][1] <= 711

    def test_of_a_long_video_some_frames_and_all_bars(self, tmp_path: Path) -> None:
        t = 200
        frames = shaded(t, 8, 8)
        share = np.zeros((t, 1, 1))
        share[::2] = 1
        draw_page(frames, np.ones((t, 1, 1)), tmp_path / "all.png")
        drawn = pixels_of(tmp_path / "all.png")
        there = [i for i in range(t) if (drawn == packed(shade(i))).sum() > 1000]
        assert len(there) == MAX_TILES
        assert there[0] == 0
        assert there[-1] == t - 1
        assert set(np.diff(there)) <= {3, 4}
        draw_page(frames, share, tmp_path / "half.png")
        line = pixels_of(tmp_path / "half.png") == packed(BAR)
        row = line[int(np.argmax(line.sum(1)))]
        assert int((np.diff(row.astype(int)) == 1).sum()) == t // 2, "one bar for every other frame"

    def test_words_stay_on_the_page_and_off_the_frames(self, tmp_path: Path) -> None:
        frames = np.full((2, 30, 40, 3), RED, np.uint8)
        for name, title in (("short", "a"), ("long", "why? " * 10_000)):
            draw_page(frames, np.ones((2, 3, 4)), tmp_path / name, title=title, lines=(title,))
        short, long = pixels_of(tmp_path / "short"), pixels_of(tmp_path / "long")
        assert short.shape == long.shape
        assert (long[:, -8:] == long[0, 0]).all(), "the margin is free"
        assert (short[80:] == long[80:]).all()

    @pytest.mark.parametrize("text", ["Qué pasa después?", "Что это?", "这是什么? ¿", "\uffff\U0001f600 e\u0301"])
    def test_any_language_is_written_or_boxed(self, tmp_path: Path, text: str) -> None:
        frames = np.full((2, 30, 40, 3), RED, np.uint8)
        draw_page(frames, np.ones((2, 3, 4)), tmp_path / "a.png", title=text, lines=(text * 300,))
        drawn = pixels_of(tmp_path / "a.png")
        assert (drawn[:, -8:] == drawn[0, 0]).all(), "the margin is free"

    def test_a_font_of_the_system_that_has_the_letters_is_taken(self) -> None:
        assert font_for("What?", 14).getname() == font_for("", 14).getname()
        best = font_for("é", 14)
        if best.getname() == font_for("", 14).getname():
            pytest.skip("no such font on this machine")
        assert bytes(best.getmask("é")) != bytes(best.getmask("\uffff"))

    def test_a_picture_is_whole_or_not_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        frames = np.zeros((2, 40, 40, 3), np.uint8)
        path = tmp_path / "a.png"
        path.write_text("the old one")

        def full(_: Image.Image, file: Path, **__: object) -> None:
            Path(file).write_bytes(b"half of it")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Image.Image, "save", full)
        with pytest.raises(RushesError, match=r"a\.png: cannot write here \(No space left on device\)"):
            draw_kept(frames, (1, 2, 2), [0], path)
        assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
        assert path.read_text() == "the old one"
