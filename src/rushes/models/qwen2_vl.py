"""Qwen2-VL: three-row rope positions, one feature row for each 2 x 2 x 2 block of patches."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from rushes.errors import RushesError
from rushes.models.base import Features, Grid, Inputs, Prompt, VideoLM, single_request
from rushes.models.mrope import blocks_of, reference_positions

TEXT, IMAGE, VIDEO = range(3)


class Qwen2_VL(VideoLM):
    """Adapter for Qwen2VLForConditionalGeneration."""

    families: ClassVar[tuple[str, ...]] = ("qwen2_vl",)
    kin = "qwen2"  # with Qwen2.5-VL: the seconds that its processor adds are ignored here
    must_agree = (
        "video_token_id",
        "image_token_id",
        "vision_config.patch_size",
        "vision_config.temporal_patch_size",
        "vision_config.spatial_merge_size",
        "vision_config.in_channels",
    )

    def _language_model(self) -> Any:
        return self.model.model.language_model

    def vision_state(self) -> Mapping[str, Tensor]:
        # The same weights under other windows or heads give other features.
        vision = self.config.vision_config
        names = ("num_heads", "window_size", "fullatt_block_indexes", "deepstack_visual_indexes", "hidden_act")
        settings = repr([getattr(vision, name, None) for name in names]).encode()
        return {**self.model.model.visual.state_dict(), "settings": torch.tensor(list(settings))}

    def encode(self, inputs: Inputs) -> Features:
        return Features(
            video=self._see(inputs, "pixel_values_videos", "video_grid_thw"),
            image=self._see(inputs, "pixel_values", "image_grid_thw"),
        )

    def _see(self, inputs: Inputs, pixels: str, grid: str) -> Tensor | None:
        out = self._run_tower(inputs, pixels, grid)
        return None if out is None else out.pooler_output.to(self.device, self.dtype)

    def _run_tower(self, inputs: Inputs, pixels: str, grid: str) -> Any:
        values = inputs.get(pixels)
        if values is None:
            return None
        if inputs.get(grid) is None:
            raise RushesError(f"{grid} is missing beside {pixels}: pass all that the processor returned")
        visual = self.model.model.visual
        weight = visual.patch_embed.proj.weight
        return visual(values.to(weight.device, weight.dtype), grid_thw=inputs[grid].to(weight.device))

    def prompt(self, inputs: Inputs, features: Features, positions: str | Tensor = "stock") -> Prompt:
        ids = single_request(inputs).to(self.device)
        kinds = self._kinds(ids)
        embeds = self.language_model.embed_tokens(ids)
        for kind, name, rows in ((IMAGE, "image", features.image), (VIDEO, "video", features.video)):
            columns = (kinds == kind).nonzero().squeeze(1)
            found = 0 if rows is None else len(rows)
            if len(columns) != found:
                raise RushesError(f"the prompt has {len(columns)} {name} tokens, the features are {found}")
            if rows is not None:
                embeds = embeds.index_copy(0, columns, rows)
        if isinstance(positions, Tensor):
            at = positions.to(self.device)
        else:
            at = self._positions(ids, kinds, inputs, positions)
        if len(at[:, -1].unique()) > 1:  # the three rows would go on from different places
            raise RushesError("the prompt ends with a picture; put text behind it, as every chat template does")
        return Prompt(
            embeds=embeds,
            positions=at,
            video_columns=(kinds == VIDEO).nonzero().squeeze(1),
            # As `generate` counts on: from the last column. Under transformers 5.x that can lie inside the time range
            # of a long video, whose end it does not wait for.
            next_position=int(at[:, -1].max()) + 1,
            grids=self.grids(inputs),
        )

    def grids(self, inputs: Inputs) -> tuple[Grid, ...]:
        return self._cells(inputs, "video_grid_thw")

    def positions_note(self, inputs: Inputs) -> str | None:
        ids = single_request(inputs)
        stock, reference = (self._positions(ids, self._kinds(ids), inputs, rule) for rule in ("stock", "reference"))
        if torch.equal(stock, reference):
            return None
        return (
            "transformers numbers the positions of this prompt otherwise than the model's original code and vLLM do; "
            'positions="reference" (--positions reference) follows these'
        )

    def _cells(self, inputs: Inputs, name: str) -> tuple[Grid, ...]:
        grids = inputs.get(name)
        merge = self.config.vision_config.spatial_merge_size
        return () if grids is None else tuple((t, h // merge, w // merge) for t, h, w in grids.tolist())

    def _kinds(self, ids: Tensor) -> Tensor:
        kinds = torch.full_like(ids, TEXT)
        kinds[ids == self.config.image_token_id] = IMAGE
        kinds[ids == self.config.video_token_id] = VIDEO
        return kinds

    def _positions(self, ids: Tensor, kinds: Tensor, inputs: Inputs, rule: str) -> Tensor:
        """(3, S). Without images and videos: 0..S-1."""
        if not bool(kinds.any()):
            return torch.arange(len(ids), device=ids.device).expand(3, -1)
        return self._reference(kinds, inputs) if rule == "reference" else self._stock(ids, kinds, inputs)

    def _stock(self, ids: Tensor, kinds: Tensor, inputs: Inputs) -> Tensor:
        names = ("image_grid_thw", "video_grid_thw", *self._timing)
        options = {name: inputs[name] for name in names if inputs.get(name) is not None}
        positions, _ = self.model.model.get_rope_index(ids[None], mm_token_type_ids=kinds[None], **options)
        return positions[:, 0]

    def _reference(self, kinds: Tensor, inputs: Inputs) -> Tensor:
        seconds, per_second = self._time(inputs)
        columns = [(kinds == kind).nonzero().squeeze(1) for kind in (IMAGE, VIDEO)]
        blocks = blocks_of(columns[0], self._cells(inputs, "image_grid_thw"), (), 1.0)
        blocks += blocks_of(columns[1], self.grids(inputs), seconds, per_second)
        return reference_positions(len(kinds), blocks).to(kinds.device)

    _timing: tuple[str, ...] = ()  # what the processor says about time, by name

    def _time(self, inputs: Inputs) -> tuple[list[float], float]:
        """Seconds from one frame cell of each video to the next, and positions per second: here one for each cell."""
        return [], 1.0
