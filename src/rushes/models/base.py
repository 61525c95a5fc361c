"""What the engine needs from a video LLM: the only rooms that know a transformers class are the adapters."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from rushes.attention import Recorder, use_folded_attention
from rushes.cache import KVCache
from rushes.errors import RushesError

Inputs = Mapping[str, Any]  # what a processor returns, for one request
Grid = tuple[int, int, int]  # cells of one video: frames in time, rows, columns; one video token each, in this order


class PrefillRecorder(Recorder, Protocol):
    """Looks at a prefill: at every layer's rotated queries and keys, and at the states behind one layer."""

    @property
    def early_layer(self) -> int:
        """Behind so many layers `states` is called; 0 for never."""
        ...

    def states(self, hidden: Tensor) -> None:
        """(S, H) hidden states behind `early_layer` layers."""


@dataclass(frozen=True, slots=True)
class Features:
    """Projected vision features, ready to stand in for placeholder tokens.

    Attributes:
        video: (m, H) one row for each video token, in prompt order; None without a video.
        image: (i, H) the same for images.
    """

    video: Tensor | None = None
    image: Tensor | None = None


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
    """

    embeds: Tensor
    positions: Tensor
    video_columns: Tensor
    next_position: int
    grids: tuple[Grid, ...] = ()

    def __len__(self) -> int:
        return self.embeds.shape[0]

    @property
    def text_rows_after_video(self) -> int:
        """Columns behind the last video token; 0 when there is no video."""
        if len(self.video_columns) == 0:
            return 0
        return len(self) - 1 - int(self.video_columns[-1])

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
        )


class VideoLM(ABC):
    """One model behind the four calls of the engine: encode, prompt, forward, logits.

    Args:
        model: A loaded transformers model of one of `families`.
        vocabulary: Rows of the vocabulary that stand for a token; rows behind it are padding and are cut off.
    """

    families: ClassVar[tuple[str, ...]]

    def __init__(self, model: Any, vocabulary: int | None = None) -> None:
        self.model = model.eval()
        self.config = model.config
        self.text_config = model.config.get_text_config()
        rows = self.text_config.vocab_size
        self.vocabulary = rows if vocabulary is None else min(rows, vocabulary)
        self.language_model = self._language_model()
        use_folded_attention(self.language_model)

    @abstractmethod
    def _language_model(self) -> Any:
        """The decoder stack without its head."""

    @abstractmethod
    def encode(self, inputs: Inputs) -> Features:
        """Run the vision tower, once for each request."""

    @abstractmethod
    def prompt(self, inputs: Inputs, features: Features) -> Prompt:
        """Embed the prompt with its features and compute the rope positions as `generate` would."""

    @abstractmethod
    def vision_state(self) -> Mapping[str, Tensor]:
        """The vision tower's weights by name, projector included."""

    @abstractmethod
    def grids(self, inputs: Inputs) -> tuple[Grid, ...]:
        """The cells that the video tokens of a prompt stand for, video by video, without running anything."""

    def count(self, inputs: Inputs) -> tuple[int, int]:
        """Tokens of a prompt, and how many of them stand for video, without running anything."""
        return len(single_request(inputs)), sum(t * h * w for t, h, w in self.grids(inputs))

    @property
    def device(self) -> torch.device:
        return self.language_model.embed_tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.language_model.embed_tokens.weight.dtype

    @property
    def context_length(self) -> int:
        return int(self.text_config.max_position_embeddings)

    def new_cache(self, capacity: int) -> KVCache:
        """A cache for one request of at most `capacity` slots."""
        config = self.text_config
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return KVCache(
            config.num_hidden_layers, config.num_key_value_heads, head_dim, capacity, self.dtype, self.device
        )

    def embed(self, tokens: list[int]) -> Tensor:
        """(n, H) embeddings of text tokens."""
        return self.language_model.embed_tokens(torch.tensor(tokens, device=self.device))

    def prefill(self, prompt: Prompt, cache: KVCache, recorder: PrefillRecorder | None = None) -> Tensor:
        """Run a whole prompt into an empty cache: (S, H) hidden states after the final norm."""
        if recorder is None or recorder.early_layer == 0:
            return self._prefill(prompt, cache, recorder)
        return self._prefill_watched(prompt, cache, recorder)

    def _prefill_watched(self, prompt: Prompt, cache: KVCache, recorder: PrefillRecorder) -> Tensor:
        def show(_: Any, __: Any, kwargs: dict[str, Any], out: Any) -> None:
            if kwargs.get("recorder") is recorder:  # another request may run through the same layer
                recorder.states((out[0] if isinstance(out, tuple) else out)[0])

        layer = self.language_model.layers[recorder.early_layer - 1]
        handle = layer.register_forward_hook(show, with_kwargs=True)
        try:
            return self._prefill(prompt, cache, recorder)
        finally:
            handle.remove()

    def _prefill(self, prompt: Prompt, cache: KVCache, recorder: Recorder | None) -> Tensor:
        """What differs by family: features that enter behind the embeddings."""
        return self.forward(prompt.embeds, prompt.positions, cache, recorder=recorder)

    def forward(
        self,
        embeds: Tensor,
        positions: Tensor,
        cache: KVCache,
        mask: Tensor | None = None,
        recorder: Recorder | None = None,
    ) -> Tensor:
        """Run n new columns behind the cache and commit their slots.

        Args:
            embeds: (n, H).
            positions: (R, n) rope positions.
            cache: Written at slots cache.length .. cache.length + n.
            mask: (n, cache.length + n) bool, True where a row may look. None: everything for one row, causal for a
                prefill into an empty cache.
            recorder: Looks at every layer's queries and keys.

        Returns:
            (n, H) hidden states after the final norm.
        """
        if mask is None and len(embeds) > 1 and cache.length > 0:
            raise ValueError("several rows behind a filled cache need a mask")
        more = {} if recorder is None else {"recorder": recorder}
        out = self.language_model(
            inputs_embeds=embeds[None],
            position_ids=positions[:, None],
            # As a mapping: transformers then builds no mask of its own.
            attention_mask={"full_attention": None if mask is None else mask[None, None]},
            past_key_values=cache,
            use_cache=True,
            **more,
        )
        cache.advance(len(embeds))
        return out.last_hidden_state[0]

    def logits(self, hidden: Tensor) -> Tensor:
        """(n, H) -> (n, vocabulary), padding rows cut off."""
        return self.model.lm_head(hidden)[..., : self.vocabulary]

    def rows_at(self, first: int, depths: list[int], rows: int) -> Tensor:
        """(rows, n) rope positions of written tokens: the same on every row."""
        return (torch.tensor(depths, device=self.device) + first).expand(rows, -1)


def single_request(inputs: Inputs) -> Tensor:
    """The (S,) token ids of a batch of one without padding.

    Raises:
        RushesError: More than one sequence, padding, or no tokens.
    """
    ids = inputs["input_ids"]
    if ids.dim() != 2 or ids.shape[0] != 1:
        raise RushesError(f"one request at a time: input_ids of shape (1, S) expected, got {tuple(ids.shape)}")
    if ids.shape[1] == 0:
        raise RushesError("the prompt is empty")
    mask = inputs.get("attention_mask")
    if mask is not None and not bool(mask.bool().all()):
        raise RushesError("padded prompts are not supported: pass the one sequence without padding")
    return ids[0]
