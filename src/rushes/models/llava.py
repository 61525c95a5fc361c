"""What the LLaVA families share: one-row positions, whole frames through a ViT, the model's own projector and pool."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from rushes.errors import RushesError
from rushes.models.base import Features, Grid, Inputs, Prompt, VideoLM, single_request


class Llava(VideoLM):
    """Base of the LLaVA adapters.

    Attributes:
        image_options: What the model's `get_image_features` reads beside the pixels.
        ends_videos: The last placeholder of each video stands for a newline. It is no cell of a frame: it counts as
            text, and is never dropped.
    """

    image_options: ClassVar[tuple[str, ...]] = ("image_sizes",)
    ends_videos: ClassVar[bool] = False

    def _language_model(self) -> Any:
        return self.model.model.language_model

    def vision_state(self) -> Mapping[str, Tensor]:
        weights = {n: w for n, w in self.model.model.state_dict().items() if not n.startswith("language_model.")}
        # The same tower read at another depth gives other features.
        return {**weights, "vision_feature_layer": torch.tensor(self.config.vision_feature_layer)}

    def encode(self, inputs: Inputs) -> Features:
        return Features(video=self._encode_videos(inputs), image=self._encode_images(inputs))

    def _encode_videos(self, inputs: Inputs) -> Tensor | None:
        grids = self.grids(inputs)
        if not grids:
            return None
        videos = self.model.model.get_video_features(self._pixels(inputs["pixel_values_videos"])).pooler_output
        # Newer versions of transformers return the newline with the features, older ones without.
        rows = [video.flatten(0, -2)[: t * h * w] for video, (t, h, w) in zip(videos, grids, strict=True)]
        return torch.cat(rows).to(self.device, self.dtype)

    def _encode_images(self, inputs: Inputs) -> Tensor | None:
        pixels = inputs.get("pixel_values")
        if pixels is None:
            return None
        options = {name: inputs.get(name) for name in self.image_options}
        images = self.model.model.get_image_features(self._pixels(pixels), **options).pooler_output
        return torch.cat(tuple(images)).to(self.device, self.dtype)

    def _pixels(self, values: Tensor) -> Tensor:
        weight = self.model.model.multi_modal_projector.linear_1.weight
        return values.to(weight.device, weight.dtype)

    def prompt(self, inputs: Inputs, features: Features, positions: str | Tensor = "stock") -> Prompt:
        ids = single_request(inputs).to(self.device)
        grids = self.grids(inputs)
        embeds = self.language_model.embed_tokens(ids)
        cells, newlines = self._columns(ids, grids)
        images = (ids == self.config.image_token_id).nonzero().squeeze(1)
        for columns, name, rows in ((images, "image", features.image), (cells, "video", features.video)):
            found = 0 if rows is None else len(rows)
            if len(columns) != found:
                raise RushesError(f"the prompt has {len(columns)} {name} tokens, the features are {found}")
            if rows is not None:
                embeds = embeds.index_copy(0, columns, rows)
        if len(newlines):
            embeds = embeds.index_copy(0, newlines, self._newline().expand(len(newlines), -1))
        return Prompt(
            embeds=embeds,
            positions=positions.to(self.device)
            if isinstance(positions, Tensor)
            else torch.arange(len(ids), device=self.device)[None],
            video_columns=cells,
            next_position=len(ids),
            grids=grids,
        )

    def _columns(self, ids: Tensor, grids: tuple[Grid, ...]) -> tuple[Tensor, Tensor]:
        """The placeholders that stand for cells, and those that stand for newlines."""
        columns = (ids == self.config.video_token_id).nonzero().squeeze(1)
        if not self.ends_videos:
            return columns, columns[:0]
        sizes = torch.tensor([t * h * w + 1 for t, h, w in grids], dtype=torch.long, device=columns.device)
        if int(sizes.sum()) != len(columns):
            raise RushesError(f"the prompt has {len(columns)} video tokens, the features are {int(sizes.sum())}")
        is_newline = torch.zeros_like(columns, dtype=torch.bool)
        is_newline[sizes.cumsum(0) - 1] = True
        return columns[~is_newline], columns[is_newline]

    def _newline(self) -> Tensor:
        newline: Tensor = self.model.model.image_newline
        return newline.to(self.device, self.dtype)

    def grids(self, inputs: Inputs) -> tuple[Grid, ...]:
        pixels = inputs.get("pixel_values_videos")
        if pixels is None:
            return ()
        if not isinstance(pixels, Tensor) or pixels.dim() != 5:
            raise RushesError(
                "pixel_values_videos of shape (videos, frames, channels, height, width) expected: "
                "the videos of one prompt need the same number of frames"
            )
        vision = self.config.vision_config
        if pixels.shape[-2:] != (vision.image_size, vision.image_size):
            raise RushesError(
                f"the processor made frames of {pixels.shape[-1]}x{pixels.shape[-2]} pixels, the model takes "
                f"{vision.image_size}x{vision.image_size}: set this size in the checkpoint's processor_config.json"
            )
        side = self._pooled(vision.image_size // vision.patch_size)
        return ((pixels.shape[1], side, side),) * pixels.shape[0]

    @abstractmethod
    def _pooled(self, side: int) -> int:
        """Cells along one side of a frame, from its patches along that side."""
