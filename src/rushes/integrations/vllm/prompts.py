"""A request of vLLM as a prompt of the draft: vLLM's tokens, pixels and positions, the draft's own features."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rushes.errors import RushesError
from rushes.guidance import own_signals
from rushes.integrations.vllm.features import FeatureStore
from rushes.integrations.vllm.settings import Settings
from rushes.models.base import Features, Inputs, Prompt, VideoLM
from rushes.signals import Signals

Normalise = Callable[[Tensor], Tensor]  # (patches, size) raw pixels to what a vision tower reads
PIXELS = {"video": "pixel_values_videos", "image": "pixel_values"}
GRIDS = {"video": "video_grid_thw", "image": "image_grid_thw"}


class Reader:
    """Makes prompts of requests.

    Args:
        model: The draft.
        settings: Scorer and keep ratio.
        store: Features of earlier requests.
        normalise: What vLLM's own model does with raw pixels before its vision tower.
    """

    def __init__(self, model: VideoLM, settings: Settings, store: FeatureStore, normalise: Normalise) -> None:
        self.model = model
        self.store = store
        self._scorer = settings.make_scorer()
        self._keep = settings.keep
        self._layers = settings.guidance_layers
        self._normalise = normalise

    def read(self, request: Any) -> tuple[Prompt, int]:
        """All text and the kept video tokens of a request, and how many video tokens there were.

        Args:
            request: vLLM's `CachedRequestState`.

        Raises:
            RushesError: What the draft cannot read, such as embeddings instead of tokens, or sound.
        """
        ids = request.prompt_token_ids
        if ids is None or request.mrope_positions is None:
            raise RushesError("the prompt has no tokens or no positions")
        inputs: dict[str, Tensor] = {"input_ids": torch.tensor(ids)[None]}
        parts: dict[str, list[Features]] = {"video": [], "image": []}
        grids: dict[str, list[Tensor]] = {"video": [], "image": []}
        for item in sorted(request.mm_features, key=lambda item: item.mm_position.offset):
            if item.modality not in parts or item.data is None:
                raise RushesError(f"the prompt holds a {item.modality} that the draft cannot look at")
            grid = item.data[GRIDS[item.modality]].data.reshape(-1, 3).cpu()
            grids[item.modality].append(grid)
            key = f"{item.modality} {item.mm_hash or item.identifier}"
            parts[item.modality].append(self.store.get(key, partial(self._encode, item, grid)))
        inputs |= {GRIDS[kind]: torch.cat(found) for kind, found in grids.items() if found}
        features = _joined(parts)
        whole = self.model.prompt(inputs, features, request.mrope_positions[:, : len(ids)].long())
        whole = replace(whole, next_position=len(ids) + int(request.mrope_position_delta or 0))
        return self._prune(whole, features), len(whole.video_columns)

    def _encode(self, item: Any, grid: Tensor) -> Features:
        name = PIXELS[item.modality]
        if name not in item.data:
            raise RushesError(f"vLLM holds no pixels of a {item.modality} that the draft has not looked at")
        inputs: Inputs = {name: self._normalise(item.data[name].data), GRIDS[item.modality]: grid}
        return self.model.encode(inputs)

    def _prune(self, whole: Prompt, features: Features) -> Prompt:
        tokens = len(whole.video_columns)
        if tokens == 0:
            return whole
        # A video of few tokens keeps one; refusing it would come in the middle of serving.
        keep = max(self._keep, 1 / tokens) if self._keep > 0 else 0.0
        budget = self._scorer.budget(keep, tokens)
        self._scorer.check(whole.grids)
        if all(signal.when == 0 for signal in self._scorer.needs):
            signals = Signals(tokens, whole.grids, features=features.video)
        else:
            signals = own_signals(self.model, whole, features, self._scorer, self._layers)
        kept = self._scorer.select(self._scorer.score(signals), budget, whole.grids)
        return whole.prune(kept)


def _joined(parts: dict[str, list[Features]]) -> Features:
    """One request's features from those of its videos and images, each kind in the order of the prompt."""

    def cat(kind: str, name: str, dim: int) -> Tensor | None:
        rows = [getattr(features, name) for features in parts[kind]]
        return torch.cat(rows, dim=dim) if rows and rows[0] is not None else None

    return Features(
        video=cat("video", "video", 0),
        image=cat("image", "image", 0),
        video_deep=cat("video", "video_deep", 1),
        image_deep=cat("image", "image_deep", 1),
    )
