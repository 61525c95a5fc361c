"""Qwen3-VL: a vision block and a timestamp for each frame, and DeepStack features behind the first layers."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rushes.attention import Recorder
from rushes.cache import KVCache
from rushes.models.base import Features, Inputs, Prompt, single_request
from rushes.models.prompt import Deep
from rushes.models.qwen2_vl import IMAGE, VIDEO, Qwen2_VL


class Qwen3_VL(Qwen2_VL):
    """Adapter for Qwen3VLForConditionalGeneration and Qwen3VLMoeForConditionalGeneration.

    The timestamps between a video's frames are text: they are kept whatever is pruned. Positions have one rule: each
    frame is a block of its own, as long in time as a picture.
    """

    families = ("qwen3_vl", "qwen3_vl_moe")
    kin = "qwen3"

    def encode(self, inputs: Inputs) -> Features:
        video, video_deep = self._both(self._run_tower(inputs, "pixel_values_videos", "video_grid_thw"))
        image, image_deep = self._both(self._run_tower(inputs, "pixel_values", "image_grid_thw"))
        return Features(video, image, video_deep, image_deep)

    def _both(self, out: Any) -> tuple[Tensor | None, Tensor | None]:
        if out is None:
            return None, None
        rows = out.pooler_output.to(self.device, self.dtype)
        deep = [layer.to(self.device, self.dtype) for layer in out.deepstack_features]
        return rows, torch.stack(deep) if deep else None

    def blind_features(self, inputs: Inputs) -> Features:
        made = super().blind_features(inputs)
        layers = len(self.config.vision_config.deepstack_visual_indexes)
        if made.video is None or layers == 0:
            return made
        return replace(made, video_deep=made.video.new_zeros(layers, *made.video.shape))

    def prompt(self, inputs: Inputs, features: Features, positions: str | Tensor = "stock") -> Prompt:
        made = super().prompt(inputs, features, positions)
        kinds = self._kinds(single_request(inputs).to(self.device))
        known = ((IMAGE, features.image_deep), (VIDEO, features.video_deep))
        present = [((kinds == kind).nonzero().squeeze(1), rows) for kind, rows in known if rows is not None]
        if not present:
            return made
        columns, order = torch.cat([columns for columns, _ in present]).sort()
        return replace(made, deep=Deep(columns, torch.cat([rows for _, rows in present], dim=1)[:, order]))

    def _positions(self, ids: Tensor, kinds: Tensor, inputs: Inputs, rule: str) -> Tensor:
        return super()._positions(ids, kinds, inputs, "stock")

    def _prefill(self, prompt: Prompt, cache: KVCache, recorder: Recorder | None) -> Tensor:
        deep = prompt.deep
        if deep is None or len(deep.columns) == 0:
            return super()._prefill(prompt, cache, recorder)
        seen = torch.zeros(1, len(prompt), dtype=torch.bool, device=self.device)
        seen[0, deep.columns] = True
        return self.forward(
            prompt.embeds,
            prompt.positions,
            cache,
            self.causal(len(prompt), cache),
            recorder=recorder,
            visual_pos_masks=seen,
            deepstack_visual_embeds=list(deep.rows),
        )
