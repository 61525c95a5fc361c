"""The three-row rope positions of Qwen2-VL and Qwen2.5-VL by their original rule.

It is the rule of the models' own release and of vLLM: what follows a picture or a video starts behind the largest of
all its positions. transformers 5.x starts it behind the larger of height and width only, which for a long video lies
inside its time range.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rushes.errors import RushesError
from rushes.models.prompt import Grid


@dataclass(frozen=True, slots=True)
class Block:
    """One picture or video inside a prompt.

    Attributes:
        start: Column of its first token.
        cells: Its grid; a picture is one cell long.
        seconds: From one cell in time to the next.
        per_second: Positions that one second takes.
    """

    start: int
    cells: Grid
    seconds: float = 1.0
    per_second: float = 1.0


def blocks_of(columns: Tensor, grids: Sequence[Grid], seconds: Sequence[float], per_second: float) -> list[Block]:
    """Cut the columns of all pictures, or of all videos, into one block for each.

    Args:
        columns: (n,) ascending columns that hold such tokens.
        grids: One for each block.
        seconds: One for each block; 1 for blocks behind its end.
        per_second: Positions that one second takes.

    Raises:
        RushesError: The columns are not one run for each grid.
    """
    made = []
    at = columns.tolist()
    for i, (t, h, w) in enumerate(grids):
        size = t * h * w
        own, at = at[:size], at[size:]
        if len(own) != size or own[-1] - own[0] != size - 1:
            raise RushesError(f"a grid of {t} x {h} x {w} cells needs {size} tokens in one run, the prompt has others")
        made.append(Block(own[0], (t, h, w), seconds[i] if i < len(seconds) else 1.0, per_second))
    if at:
        raise RushesError(f"{len(at)} vision tokens of the prompt belong to no grid")
    return made


def reference_positions(length: int, blocks: Sequence[Block]) -> Tensor:
    """(3, length) positions of a prompt: time, height, width.

    Args:
        length: Columns of the prompt.
        blocks: Its pictures and videos in any order; every other column is text.
    """
    pieces = []
    column = position = 0
    for block in sorted(blocks, key=lambda block: block.start):
        t, h, w = block.cells
        # In fp32 and in this order, as the original does: where a product is not whole, rounding decides.
        time = (torch.arange(t) * block.seconds * block.per_second).long()
        cells = torch.stack(torch.meshgrid(time, torch.arange(h), torch.arange(w), indexing="ij")).flatten(1)
        text = block.start - column
        pieces += [_text(text) + position, cells + (position + text)]
        position += text + int(cells.max()) + 1
        column = block.start + cells.shape[1]
    return torch.cat([*pieces, _text(length - column) + position], dim=1)


def _text(length: int) -> Tensor:
    return torch.arange(length).expand(3, -1)
