"""The pictures light exactly the kept tokens, and are whole or not there."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rushes.errors import RushesError
from rushes.pictures import draw_kept

RED = (200, 0, 0)


def cell_centres(path: Path, grid: tuple[int, int, int], columns: int, shape: tuple[int, int]) -> np.ndarray:
    """(t, h, w, 3) the pixels in the middle of each cell, found from the size of the picture alone."""
    t, h, w = grid
    pixels = np.asarray(Image.open(path))
    margin, caption, title = 6, 18, 24
    cell = ((pixels.shape[1] - margin) // columns - margin) // w
    tile_w, tile_h = cell * w, round(cell * w * shape[0] / shape[1] / h) * h
    out = np.empty((t, h, w, 3), np.uint8)
    for i in range(t):
        x = margin + i % columns * (tile_w + margin)
        y = margin + title + i // columns * (tile_h + caption + margin)
        for row in range(h):
            for column in range(w):
                out[i, row, column] = pixels[y + row * (tile_h // h) + tile_h // h // 2, x + column * cell + cell // 2]
    return out


@pytest.mark.parametrize("kept", [[], [0], [5, 17, 18, 40, 71], list(range(72))], ids=len)
@pytest.mark.parametrize(("grid", "columns"), [((6, 3, 4), 4), ((3, 4, 6), 8)])
def test_lit_cells_are_the_kept_tokens(
    tmp_path: Path, kept: list[int], grid: tuple[int, int, int], columns: int
) -> None:
    frames = np.full((2 * grid[0], 60, 80, 3), RED, np.uint8)
    path = tmp_path / "kept.png"
    draw_kept(frames, grid, kept, path, title="which", columns=columns, seconds=np.arange(len(frames)) / 2)
    centres = cell_centres(path, grid, columns, (60, 80)).reshape(-1, 3)
    lit = [i for i, colour in enumerate(centres) if tuple(colour) == RED]
    assert lit == kept
    dark = [i for i in range(len(centres)) if i not in kept]
    assert all(centres[i].min() > 100 for i in dark), "dropped cells are pale"


def test_each_row_of_tokens_shows_its_own_frame(tmp_path: Path) -> None:
    frames = np.zeros((6, 40, 40, 3), np.uint8)
    frames[..., 0] = 40 * np.arange(6)[:, None, None]
    draw_kept(frames, (3, 2, 2), range(12), tmp_path / "a.png", columns=3)
    centres = cell_centres(tmp_path / "a.png", (3, 2, 2), 3, (40, 40))
    assert [int(c[0, 0, 0]) for c in centres] == [0, 80, 160]  # the first frame of each pair


def test_a_picture_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
