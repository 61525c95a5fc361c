"""What each scorer makes of one video: one vision pass and one prefill of the target serve them all."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rushes.errors import RushesError
from rushes.methods import SCORERS, scorer
from rushes.models.base import Grid, Inputs, VideoLM
from rushes.pruning.base import Scorer
from rushes.pruning.controls import Full, Nothing
from rushes.recording import Recording
from rushes.signals import Signal, Signals


@dataclass(frozen=True, slots=True)
class View:
    """One scorer's choice among m video tokens.

    Attributes:
        name: The scorer, as asked for.
        grid: (t, h, w) cells of the video, one token each.
        scores: (m,) or (layers, m); None for a scorer that does not look at the video.
        kept: (K,) ascending indices of the kept tokens, or (layers, K).
    """

    name: str
    grid: Grid
    scores: Tensor | None
    kept: Tensor

    @property
    def video_tokens(self) -> int:
        t, h, w = self.grid
        return t * h * w

    @property
    def kept_tokens(self) -> int:
        """K; the same in every layer."""
        return int(self.kept.shape[-1])

    @property
    def layers(self) -> int | None:
        """How many layers choose for themselves; None where one choice serves all."""
        return len(self.kept) if self.kept.dim() == 2 else None

    @property
    def share(self) -> np.ndarray:
        """(t, h, w) share of the layers that keep each cell, 0..1; 0 or 1 where one choice serves all."""
        rows = self.kept if self.kept.dim() == 2 else self.kept[None]
        kept = torch.zeros(len(rows), self.video_tokens).scatter_(1, rows, 1.0)
        return kept.mean(0).reshape(self.grid).numpy()

    @property
    def heat(self) -> np.ndarray | None:
        """(t, h, w) scores, the mean of the layers where each has its own."""
        if self.scores is None:
            return None
        return self.scores.double().reshape(-1, self.video_tokens).mean(0).reshape(self.grid).numpy()


def scorers(names: str | None = None) -> dict[str, Scorer]:
    """Scorers by name, from names separated by commas; by default all but those that keep everything or nothing.

    Raises:
        RushesError: No name, or an unknown one.
    """
    if names is None:
        made = {name: scorer(name) for name in SCORERS}
        return {name: part for name, part in made.items() if not isinstance(part, Full | Nothing)}
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    if not chosen:
        raise RushesError(f"no scorer given; known: {', '.join(SCORERS)}")
    return {name: scorer(name) for name in chosen}


@torch.inference_mode()
def views(target: VideoLM, inputs: Inputs, chosen: Mapping[str, Scorer], keep: float) -> list[View]:
    """Let every scorer choose from what one prefill revealed.

    Args:
        target: The model whose signals they read.
        inputs: What the processor returned for one video and a prompt.
        chosen: Scorers by the name to show.
        keep: Share of the video tokens to keep, 0..1.

    Returns:
        One view for each scorer, in their order.

    Raises:
        RushesError: No video, a prompt over the context length, a keep ratio or a video that a scorer refuses, or not
            enough memory.
    """
    length, video_tokens = target.count(inputs)
    if video_tokens == 0:
        raise RushesError("there is no video in the prompt, so there is nothing to score")
    if length > target.context_length:
        raise RushesError(
            f"the prompt has {length} tokens ({video_tokens} of them video); the target holds {target.context_length}: "
            "use fewer frames or a shorter prompt"
        )
    grids = target.grids(inputs)
    budgets = {}
    for name, part in chosen.items():
        part.check(grids)
        budgets[name] = part.budget(keep, video_tokens)
    try:
        signals = _signals(target, inputs, chosen)
    except torch.OutOfMemoryError as error:
        raise RushesError("out of GPU memory; use fewer frames or another --device") from error
    depth, grid = _depth(target), _one(grids)
    made = []
    for name, part in chosen.items():
        scores = part.score(signals[part.early_layer(depth) if _early(part) else 0])
        kept = part.select(scores, budgets[name], grids).cpu()
        made.append(View(name, grid, scores.float().cpu() if part.needs else None, kept))
    return made


def _signals(target: VideoLM, inputs: Inputs, chosen: Mapping[str, Scorer]) -> dict[int, Signals]:
    """The signals of all scorers, by the early layer that they are to be read with; 0 where that does not matter."""
    features = target.encode(inputs)
    prompt = target.prompt(inputs, features)
    depth = _depth(target)
    # A prefill can look behind one layer only; for another one it runs again, for these early states alone.
    first, *others = sorted({part.early_layer(depth) for part in chosen.values() if _early(part)}) or [0]
    wanted = {first: frozenset(signal for part in chosen.values() for signal in part.needs)}
    wanted.update(dict.fromkeys(others, frozenset({Signal.EARLY_STATES})))
    found = {}
    for layer, needs in wanted.items():
        recording = Recording(prompt, needs, layer, depth)
        if recording.watches:
            target.prefill(prompt, target.new_cache(len(prompt)), recording)
        found[layer] = recording.signals(features)
    # What was recorded once is shared, and the early states are each layer's own.
    shared = {layer: replace(found[first], early_states=signals.early_states) for layer, signals in found.items()}
    return {0: found[first], **shared}


def _early(scorer: Scorer) -> bool:
    return Signal.EARLY_STATES in scorer.needs


def _depth(target: VideoLM) -> int:
    return int(target.text_config.num_hidden_layers)


def _one(grids: tuple[Grid, ...]) -> Grid:
    """The grid of the one video, also where a family counts each of its frames as a video."""
    _, h, w = grids[0]
    if any(grid[1:] != (h, w) for grid in grids):
        raise RushesError("several videos of different sizes are in the prompt; show one")
    return sum(t for t, _, _ in grids), h, w
