"""Qwen2-VL and Qwen2.5-VL: three-row rope positions, one feature row for each 2 x 2 x 2 block of patches."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rushes.errors import RushesError
from rushes.models.base import Features, Grid, Inputs, Prompt, VideoLM, single_request


class Qwen2_5_VL(VideoLM):
    """Adapter for Qwen2VLForConditionalGeneration and Qwen2_5_VLForConditionalGeneration."""

    families = ("qwen2_vl", "qwen2_5_vl")

    def _language_model(self) -> Any:
        return self.model.model.language_model

    def vision_state(self) -> Mapping[str, Tensor]:
        return dict(self.model.model.visual.state_dict())

    def encode(self, inputs: Inputs) -> Features:
        return Features(
            video=self._encode(inputs, "pixel_values_videos", "video_grid_thw"),
            image=self._encode(inputs, "pixel_values", "image_grid_thw"),
        )

    def _encode(self, inputs: Inputs, pixels: str, grid: str) -> Tensor | None:
        values = inputs.get(pixels)
        if values is None:
            return None
        visual = self.model.model.visual
        weight = visual.patch_embed.proj.weight
        out = visual(values.to(weight.device, weight.dtype), grid_thw=inputs[grid].to(weight.device))
        return out.pooler_output.to(self.device, self.dtype)

    def prompt(self, inputs: Inputs, features: Features) -> Prompt:
        ids = single_request(inputs).to(self.device)
        kinds = torch.zeros_like(ids)  # 0 text, 1 image, 2 video
        kinds[ids == self.config.image_token_id] = 1
        kinds[ids == self.config.video_token_id] = 2
        embeds = self.language_model.embed_tokens(ids)
        for kind, name, rows in ((1, "image", features.image), (2, "video", features.video)):
            columns = (kinds == kind).nonzero().squeeze(1)
            found = 0 if rows is None else len(rows)
            if len(columns) != found:
                raise RushesError(f"the prompt has {len(columns)} {name} tokens, the features are {found}")
            if rows is not None:
                embeds = embeds.index_copy(0, columns, rows)
        positions = self._positions(ids, kinds, inputs)
        return Prompt(
            embeds=embeds,
            positions=positions,
            video_columns=(kinds == 2).nonzero().squeeze(1),
            # As `generate` counts on: from the last column. Under transformers 5.x that can lie inside the time range
            # of a long video, whose end it does not wait for.
            next_position=int(positions[:, -1].max()) + 1,
            grids=self.grids(inputs),
        )

    def grids(self, inputs: Inputs) -> tuple[Grid, ...]:
        grids = inputs.get("video_grid_thw")
        merge = self.config.vision_config.spatial_merge_size
        return () if grids is None else tuple((t, h // merge, w // merge) for t, h, w in grids.tolist())

    def _positions(self, ids: Tensor, kinds: Tensor, inputs: Inputs) -> Tensor:
        """(3, S), from the model's own rule. Without images and videos: 0..S-1."""
        if not bool(kinds.any()):
            return torch.arange(len(ids), device=ids.device).expand(3, -1)
        options = {name: inputs[name] for name in ("image_grid_thw", "video_grid_thw") if inputs.get(name) is not None}
        seconds = inputs.get("second_per_grid_ts")
        if seconds is not None and self.config.model_type == "qwen2_5_vl":
            options["second_per_grid_ts"] = seconds
        positions, _ = self.model.model.get_rope_index(ids[None], mm_token_type_ids=kinds[None], **options)
        return positions[:, 0]
