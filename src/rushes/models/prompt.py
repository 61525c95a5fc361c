"""A prompt as the language model sees it: columns, their positions, and what vision put into them."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

Grid = tuple[int, int, int]  # cells of one video: frames in time, rows, columns; one video token each, in this order


@dataclass(frozen=True, slots=True)
class Features:
    """Projected vision features, ready to stand in for placeholder tokens.

    Attributes:
        video: (m, H) one row for each video token, in prompt order; None without a video.
        image: (i, H) the same for images.
        video_deep: (n, m, H) DeepStack: what is added to the same tokens behind each of the first n layers; None for a
            family without it.
        image_deep: (n, i, H) the same for images.
    """

    video: Tensor | None = None
    image: Tensor | None = None
    video_deep: Tensor | None = None
    image_deep: Tensor | None = None

    def to(self, device: torch.device, dtype: torch.dtype) -> "Features":
        """The same features for a model that lives elsewhere."""

        def move(rows: Tensor | None) -> Tensor | None:
            return None if rows is None else rows.to(device, dtype)

        return Features(move(self.video), move(self.image), move(self.video_deep), move(self.image_deep))

    @property
    def bytes(self) -> int:
        rows = (self.video, self.image, self.video_deep, self.image_deep)
        return sum(one.nbytes for one in rows if one is not None)


@dataclass(frozen=True, slots=True)
class Deep:
    """What DeepStack adds behind the first n layers.

    Attributes:
        columns: (v,) ascending columns that hold image or video tokens.
        rows: (n, v, H) one row for each layer and each of these columns.
    """

    columns: Tensor
    rows: Tensor

    def keep(self, columns: Tensor) -> "Deep":
        """What is left when a prompt keeps only `columns` (ascending)."""
        stays = torch.isin(self.columns, columns)
        return Deep(torch.searchsorted(columns, self.columns[stays]), self.rows[:, stays])

    def behind(self, first: int) -> "Deep":
        """What is left of it from column `first` on, which becomes column 0."""
        stays = self.columns >= first
        return Deep(self.columns[stays] - first, self.rows[:, stays])


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as the language model sees it.

    Cache slots are the columns here, 0..S-1; rope positions are `positions`. They are two things.

    Attributes:
        embeds: (S, H).
        positions: (R, S) rope positions, R = 3 (time, height, width) or 1.
        video_columns: (m,) ascending columns that hold video tokens.
        next_position: Rope position of the first token that will be written.
        grids: The cells that the m video tokens stand for, video by video; () once some were dropped.
        deep: DeepStack's rows; None for a family without it, or without anything to see.
        question: Of the last columns, so many ask; None is all behind the last video token.
        identity: (S,) int64 on the CPU, a number for each column that is equal for equal columns; None where nobody
            compares prompts.
    """

    embeds: Tensor
    positions: Tensor
    video_columns: Tensor
    next_position: int
    grids: tuple[Grid, ...] = ()
    deep: Deep | None = None
    question: int | None = None
    identity: Tensor | None = None

    def __len__(self) -> int:
        return self.embeds.shape[0]

    @property
    def text_rows_after_video(self) -> int:
        """Columns behind the last video token; 0 when there is no video."""
        if len(self.video_columns) == 0:
            return 0
        return len(self) - 1 - int(self.video_columns[-1])

    @property
    def question_rows(self) -> int:
        """Columns behind the last video token that ask something about it: what scorers look at."""
        rows = self.text_rows_after_video
        return rows if self.question is None else min(rows, self.question)

    def behind(self, first: int) -> "Prompt":
        """The columns from `first` on, to be read behind those before them."""
        if first == 0:
            return self
        return replace(
            self,
            embeds=self.embeds[first:],
            positions=self.positions[:, first:],
            video_columns=self.video_columns[self.video_columns >= first] - first,
            grids=(),
            deep=None if self.deep is None else self.deep.behind(first),
            identity=None if self.identity is None else self.identity[first:],
        )

    def prune(self, kept: Tensor, *, repack: bool = False) -> "Prompt":
        """Keep all text and only the video tokens `kept` ((K,) ascending indices into the video tokens).

        Args:
            kept: Which video tokens stay.
            repack: Number the remaining columns 0..n-1 instead of keeping each one's own position (SpecVLM's official
                code does that; `methods.md` section 1).
        """
        stays = torch.ones(len(self), dtype=torch.bool, device=self.embeds.device)
        stays[self.video_columns] = False
        stays[self.video_columns[kept.to(stays.device)]] = True
        columns = stays.nonzero().squeeze(1)
        video = torch.zeros_like(stays)
        video[self.video_columns] = True
        positions, following = self.positions[:, columns], self.next_position
        if repack:
            positions = torch.arange(len(columns), device=positions.device).expand(positions.shape[0], -1)
            following = len(columns)
        return replace(
            self,
            embeds=self.embeds[columns],
            positions=positions,
            video_columns=video[columns].nonzero().squeeze(1),
            next_position=following,
            grids=self.grids if len(kept) == len(self.video_columns) else (),
            deep=None if self.deep is None else self.deep.keep(columns),
            identity=None if self.identity is None else self.identity[columns.cpu()],
        )
