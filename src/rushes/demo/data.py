"""Training batches: clips drawn, worded, tokenised and laid out, with the truth for every cell and every word."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rushes.demo.scenes import BACKGROUNDS, COLORS, MAX_SCENES, MOTIONS, SHAPES, Clip, frame_times, render, sample_clip
from rushes.demo.wording import Sample, ask, describe

CELL = 28  # pixels on a side of one merged cell: 2 x 2 patches of 14
PATCH = 14
IGNORE = -100
SIZES = ((84, 84), (84, 112), (84, 112), (112, 84), (112, 112), (84, 140))
ATTRIBUTE_NAMES: dict[str, tuple[str, ...]] = {
    "color": tuple(COLORS),
    "shape": SHAPES,
    "background": tuple(BACKGROUNDS),
    "motion": MOTIONS,
}
_MEAN = np.array((0.48145466, 0.4578275, 0.40821073), np.float32)  # the processor's normalisation
_STD = np.array((0.26862954, 0.26130258, 0.27577711), np.float32)


@dataclass(slots=True)
class Batch:
    """B conversations about B videos of one frame size.

    Attributes:
        patches: (F, h * w, 1176) normalised pixels, F = pairs of frames of all videos one after the other; h and w
            count patches of 14 pixels, ordered in 2 x 2 groups as the processor does.
        grid: (h, w).
        cells: attribute -> (F, h * w / 4) class of each merged cell; len(names) stands for "no shape here".
        input_ids, labels, scene_of: (B, S); labels are IGNORE outside answers, scene_of outside scenes.
        asking: (B, S) bool, the first question: the text between the video and the first answer.
        summary: attribute -> (B, MAX_SCENES) class in each scene; len(names) stands for "no such scene".
        positions: (3, B, S) rope positions.
        video_slots: (N, 2) row and column of each video token that is shown; video_rows: (N,) its row in the merged
            features.
    """

    patches: Tensor
    grid: tuple[int, int]
    cells: dict[str, Tensor]
    input_ids: Tensor
    labels: Tensor
    scene_of: Tensor
    asking: Tensor
    summary: dict[str, Tensor]
    positions: Tensor
    video_slots: Tensor
    video_rows: Tensor


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a batch is drawn from: scenes at most, how often the model's reference positions, tokens in all."""

    max_scenes: int = 8
    reference_positions: float = 0.25
    tokens: int = 3200


def make_patches(frames: np.ndarray) -> np.ndarray:
    """(T, H, W, 3) uint8 with even T -> (T / 2, H * W / 196, 1176), in the order of transformers' video processor."""
    count, height, width, _ = frames.shape
    x = (frames.astype(np.float32) / 255 - _MEAN) / _STD
    x = x.reshape(count // 2, 2, height // CELL, 2, PATCH, width // CELL, 2, PATCH, 3)
    x = x.transpose(0, 2, 5, 3, 6, 8, 1, 4, 7)  # pair, cell row, cell column, 2, 2, colour, frame, y, x
    return x.reshape(count // 2, (height // PATCH) * (width // PATCH), 3 * 2 * PATCH * PATCH)


class BatchMaker:
    """Draws batch number `index`: the same number gives the same batch, so that training can resume anywhere."""

    def __init__(self, tokenizer: Any, seed: int) -> None:
        self.seed = seed
        self._encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
        self._video_pad = tokenizer.convert_tokens_to_ids("<|video_pad|>")
        self.pad = tokenizer.convert_tokens_to_ids("<|endoftext|>")
        self._head = self._encode(
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
        )
        self._tokenizer = tokenizer

    def __call__(self, index: int, recipe: Recipe) -> Batch:
        rng = np.random.default_rng((self.seed, index))
        height, width = SIZES[int(rng.integers(len(SIZES)))]
        # Of similar length, so that little is padding: all conversations of a batch have about as many scenes.
        top = int(rng.integers(1, recipe.max_scenes + 1))
        rows: list[dict[str, Any]] = []
        longest = 0
        pairs = 0
        while True:
            clip = sample_clip(rng, int(np.clip(top + rng.integers(-1, 2), 1, recipe.max_scenes)))
            row = self._row(clip, height, width, rng, recipe.reference_positions, pairs)
            longest = max(longest, len(row["ids"]))
            if rows and longest * (len(rows) + 1) > recipe.tokens:
                break
            rows.append(row)
            pairs += len(row["patches"])
        return self._collate(rows, (height // PATCH, width // PATCH))

    def _row(
        self,
        clip: Clip,
        height: int,
        width: int,
        rng: np.random.Generator,
        reference_positions: float,
        first_pair: int,
    ) -> dict[str, Any]:
        fps = float(rng.choice((4.0, 4.0, 4.0, 4.0, 5.0, 6.0)))
        frames, cover = render(clip, fps, height, width)
        scene = np.array([i for i, _ in frame_times(clip, fps)])
        frames = _disturb(frames, rng)
        if len(frames) % 2:
            frames, cover, scene = (np.concatenate([x, x[-1:]]) for x in (frames, cover, scene))
        count, cells_high, cells_wide = len(frames) // 2, height // CELL, width // CELL
        per_pair = cells_high * cells_wide
        video_scene = np.repeat(scene[::2], per_pair)

        spg = 2.0 / fps
        t = np.repeat(first := (np.arange(count) * (2 * spg)).astype(np.int64), per_pair)
        y = np.tile(np.repeat(np.arange(cells_high), cells_wide), count)
        x = np.tile(np.arange(cells_wide), count * cells_high)
        start = len(self._head)
        positions = [np.arange(start)[None].repeat(3, 0), np.stack([t, y, x]) + start]
        reference = rng.random() < reference_positions
        span = max(cells_high, cells_wide)
        top = start + (max(span, int(first[-1]) + 1) if reference else span)

        ids = [*self._head, *([self._video_pad] * len(video_scene))]
        labels = [IGNORE] * len(ids)
        scene_of = [IGNORE] * start + video_scene.tolist()
        for turn, sample in enumerate(_conversation(clip, rng)):
            prompt = self._encode(
                ("<|vision_end|>" if turn == 0 else "\n<|im_start|>user\n")
                + f"{sample.prompt}<|im_end|>\n<|im_start|>assistant\n"
            )
            answer, scenes = self._answer(sample)
            positions.append(np.arange(top, top + len(prompt))[None].repeat(3, 0))
            top += len(prompt)
            positions.append(np.arange(top, top + len(answer))[None].repeat(3, 0))
            top += len(answer)
            if turn == 0:
                asking = [0] * len(ids) + [1] * len(prompt)
            ids += prompt + answer
            labels += [IGNORE] * len(prompt) + answer
            scene_of += [IGNORE] * len(prompt) + scenes
        return {
            "patches": make_patches(frames),
            "cells": _cell_truth(clip, scene, cover),
            "ids": ids,
            "labels": labels,
            "scene_of": scene_of,
            "asking": asking,
            "summary": _summary(clip),
            "positions": np.concatenate(positions, axis=1),
            "video_rows": np.arange(len(video_scene)) + first_pair * per_pair,
        }

    def _answer(self, sample: Sample) -> tuple[list[int], list[int]]:
        """Token ids of the answer with its end-of-turn token, and the scene that each speaks of."""
        encoded = self._tokenizer(sample.answer + "<|im_end|>", add_special_tokens=False, return_offsets_mapping=True)
        scenes = [IGNORE] * len(encoded["input_ids"])
        for scene, start, end in sample.spans:
            for i, (_, stop) in enumerate(encoded["offset_mapping"]):
                if start < stop <= end:
                    scenes[i] = scene
        return list(encoded["input_ids"]), scenes

    def _collate(self, rows: list[dict[str, Any]], grid: tuple[int, int]) -> Batch:
        longest = max(len(row["ids"]) for row in rows)

        def pad(name: str, value: int) -> Tensor:
            return torch.tensor([row[name] + [value] * (longest - len(row[name])) for row in rows])

        positions = np.zeros((3, len(rows), longest), np.int64)
        slots = []
        for i, row in enumerate(rows):
            positions[:, i, : row["positions"].shape[1]] = row["positions"]
            columns = len(self._head) + np.arange(len(row["video_rows"]))
            slots.append(np.stack([np.full_like(columns, i), columns], axis=1))
        return Batch(
            patches=torch.from_numpy(np.concatenate([row["patches"] for row in rows])),
            grid=grid,
            cells={
                name: torch.from_numpy(np.concatenate([row["cells"][name] for row in rows])) for name in ATTRIBUTE_NAMES
            },
            input_ids=pad("ids", self.pad),
            labels=pad("labels", IGNORE),
            scene_of=pad("scene_of", IGNORE),
            asking=pad("asking", 0).bool(),
            summary={name: torch.tensor([row["summary"][name] for row in rows]) for name in ATTRIBUTE_NAMES},
            positions=torch.from_numpy(positions),
            video_slots=torch.from_numpy(np.concatenate(slots)),
            video_rows=torch.from_numpy(np.concatenate([row["video_rows"] for row in rows])),
        )


def _conversation(clip: Clip, rng: np.random.Generator) -> list[Sample]:
    """A few turns about one video: much text to learn from for each video that is looked at."""
    if rng.random() < 0.6:
        return [describe(clip, rng), *(ask(clip, rng) for _ in range(2))]
    return [ask(clip, rng) for _ in range(4)]


def _disturb(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a codec and a resize do to a frame, roughly: a little blur, noise and brightness."""
    x: np.ndarray = frames.astype(np.float32)
    if rng.random() < 0.4:
        share = float(rng.uniform(0.2, 0.8))
        soft = (x + np.roll(x, 1, 1) + np.roll(x, -1, 1) + np.roll(x, 1, 2) + np.roll(x, -1, 2)) / 5
        x = (1 - share) * x + share * soft
    x += rng.normal(0, 4, (len(x), *x.shape[1:3], 1)).astype(np.float32) + float(rng.uniform(-8, 8))
    return np.clip(np.round(x), 0, 255).astype(np.uint8)


def _summary(clip: Clip) -> dict[str, list[int]]:
    return {
        name: [names.index(getattr(s, name)) for s in clip.scenes] + [len(names)] * (MAX_SCENES - len(clip.scenes))
        for name, names in ATTRIBUTE_NAMES.items()
    }


def _cell_truth(clip: Clip, scene: np.ndarray, cover: np.ndarray) -> dict[str, np.ndarray]:
    """attribute -> (pairs, cells) class index; "no shape here" is one past the last; mixed pairs are ignored."""
    count, height, width = len(cover) // 2, cover.shape[1], cover.shape[2]
    share = cover.reshape(count, 2, height // CELL, CELL, width // CELL, CELL).mean((3, 5)).max(1)
    seen = share.reshape(count, -1) > 0.12
    mixed = scene[::2] != scene[1::2]
    truth = {}
    for name, names in ATTRIBUTE_NAMES.items():
        classes = np.array([names.index(getattr(s, name)) for s in clip.scenes])[scene[::2]]
        cells = np.repeat(classes[:, None], seen.shape[1], axis=1)
        if name != "background":
            cells = np.where(seen, cells, len(names))
        truth[name] = np.where(mixed[:, None], IGNORE, cells)
    return truth
