"""What the engine needs from a video LLM: the only rooms that know a transformers class are the adapters."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from rushes.attention import Recorder, use_folded_attention
from rushes.batched_cache import BatchedKVCache
from rushes.cache import KVCache
from rushes.errors import RushesError
from rushes.models.prompt import Features, Grid, Prompt
from rushes.models.watching import PrefillRecorder, Watch

__all__ = ["Features", "Grid", "Inputs", "Prompt", "VideoLM", "single_request"]

Inputs = Mapping[str, Any]  # what a processor returns, for one request
POSITIONS = ("stock", "reference")


class VideoLM(ABC):
    """One model behind the four calls of the engine: encode, prompt, forward, logits.

    Args:
        model: A loaded transformers model of one of `families`.
        vocabulary: Rows of the vocabulary that stand for a token; rows behind it are padding and are cut off.

    Attributes:
        families: The `model_type`s that this adapter speaks for.
        kin: One word for all adapters whose processors return the same inputs; models of these can be a pair. "" has
            none but itself.
        must_agree: Settings of the config, as dotted names, that a target and its draft share: they say how pictures
            are cut up, and which tokens stand for them.
        max_frames: Most frames to take unasked, where the checkpoint's processor states no limit.
    """

    families: ClassVar[tuple[str, ...]]
    kin: ClassVar[str] = ""
    must_agree: ClassVar[tuple[str, ...]] = ("video_token_id", "image_token_id")
    max_frames: ClassVar[int] = 768

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
    def prompt(self, inputs: Inputs, features: Features, positions: str | Tensor = "stock") -> Prompt:
        """Embed the prompt with its features and compute its rope positions.

        Args:
            inputs, features: What the processor returned, and what `encode` made of it.
            positions: "stock", as the installed transformers' `generate` computes them, or "reference", the model's
                original rule. Families that have one rule only take both words for it. A (R, S) tensor: these.
        """

    @abstractmethod
    def vision_state(self) -> Mapping[str, Tensor]:
        """The vision tower's weights by name, projector included."""

    @abstractmethod
    def grids(self, inputs: Inputs) -> tuple[Grid, ...]:
        """The cells that the video tokens of a prompt stand for, video by video, without running anything."""

    def positions_note(self, inputs: Inputs) -> str | None:
        """Says so when "stock" and "reference" positions of these inputs differ, without running anything."""
        return None

    def blind_features(self, inputs: Inputs) -> Features:
        """Placeholders for the video, which nobody will look at, and true features for images."""
        tokens = self.count(inputs)[1]
        pictures = self.encode({k: v for k, v in inputs.items() if "video" not in k})
        rows = torch.zeros(tokens, self.text_config.hidden_size, device=self.device, dtype=self.dtype)
        return replace(pictures, video=rows if tokens else None)

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
        return KVCache(self._depth, *self.kv_shape, capacity, self.dtype, self.device)

    def new_rows(self, budget: int | None = None) -> BatchedKVCache:
        """A cache for many requests, of at most `budget` bytes."""
        return BatchedKVCache(self._depth, *self.kv_shape, self.dtype, self.device, budget)

    @property
    def kv_shape(self) -> tuple[int, int]:
        """KV heads, and the size of each."""
        config = self.text_config
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return config.num_key_value_heads, head_dim

    @property
    def _depth(self) -> int:
        return int(self.text_config.num_hidden_layers)

    def embed(self, tokens: list[int]) -> Tensor:
        """(n, H) embeddings of text tokens."""
        return self.language_model.embed_tokens(torch.tensor(tokens, device=self.device))

    def prefill(
        self, prompt: Prompt, cache: KVCache, recorder: PrefillRecorder | None = None, watch: Watch | None = None
    ) -> Tensor:
        """Run a prompt: (S - n, H) hidden states after the final norm.

        Args:
            cache: Holds the first n columns already; most often none.
            recorder: Looks at every layer, and at the states behind its early layer.
            watch: Gets the states behind another one.
        """
        eye: Recorder | None = watch if recorder is None else recorder
        with ExitStack() as hooks:
            if recorder is not None and recorder.early_layer > 0:
                hooks.enter_context(self._shown(recorder.early_layer, eye, recorder.states))
            if watch is not None and not watch.last:
                hooks.enter_context(self._shown(watch.layer, eye, watch.see))
            hidden = self._prefill(prompt.behind(cache.length), cache, eye)
        if watch is not None and watch.last:
            watch.see(hidden)
        return hidden

    def forward_watched(
        self, embeds: Tensor, positions: Tensor, cache: KVCache, mask: Tensor | None, watch: Watch
    ) -> Tensor:
        """As `forward`; `watch` gets the states behind its layer."""
        if watch.last:
            watch.see(hidden := self.forward(embeds, positions, cache, mask))
            return hidden
        with self._shown(watch.layer, watch, watch.see):
            return self.forward(embeds, positions, cache, mask, watch)

    @contextmanager
    def _shown(self, layer: int, eye: Recorder | None, see: Callable[[Tensor], None]) -> Iterator[None]:
        """Hand the (n, H) states behind `layer` layers to `see`, in passes that `eye` looks at.

        Another request, on another thread, may run through the same layer meanwhile.
        """
        layers = self.language_model.layers

        def read(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if kwargs.get("recorder") is eye:
                see((args[0] if args else kwargs["hidden_states"])[0])

        def written(_: Any, __: Any, kwargs: dict[str, Any], out: Any) -> None:
            if kwargs.get("recorder") is eye:
                see((out[0] if isinstance(out, tuple) else out)[0])

        # What the next layer reads: some families add to what the layer before it wrote.
        if layer < len(layers):
            handle = layers[layer].register_forward_pre_hook(read, with_kwargs=True)
        else:
            handle = layers[-1].register_forward_hook(written, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    def _prefill(self, prompt: Prompt, cache: KVCache, recorder: Recorder | None) -> Tensor:
        """What differs by family: features that enter behind the embeddings."""
        return self.forward(prompt.embeds, prompt.positions, cache, self.causal(len(prompt), cache), recorder=recorder)

    def causal(self, rows: int, cache: KVCache) -> Tensor | None:
        """(rows, cache.length + rows) mask of a prefill; None where none is needed."""
        if rows == 1 or cache.length == 0:
            return None
        return torch.ones(rows, cache.length + rows, dtype=torch.bool, device=self.device).tril(cache.length)

    def forward(
        self,
        embeds: Tensor,
        positions: Tensor,
        cache: KVCache,
        mask: Tensor | None = None,
        recorder: Recorder | None = None,
        **more: Any,
    ) -> Tensor:
        """Run n new columns behind the cache and commit their slots.

        Args:
            embeds: (n, H).
            positions: (R, n) rope positions, as in `Prompt`.
            cache: Written at slots cache.length .. cache.length + n.
            mask: (n, cache.length + n) bool, True where a row may look. None: everything for one row, causal for a
                prefill into an empty cache.
            recorder: Looks at every layer's queries and keys.
            more: What else the family's language model reads.

        Returns:
            (n, H) hidden states after the final norm.
        """
        if mask is None and len(embeds) > 1 and cache.length > 0:
            raise ValueError("several rows behind a filled cache need a mask")
        use_folded_attention(self.language_model)  # its owner may have chosen another one in the meantime
        if recorder is not None:
            more["recorder"] = recorder
        out = self.language_model(
            inputs_embeds=embeds[None],
            position_ids=positions if len(positions) == 1 else positions[:, None],
            # Every family takes a mask of four dimensions as it is, and builds none where there is none: for one row,
            # and for a prefill into an empty cache, which is causal by a flag.
            attention_mask=None if mask is None else mask[None, None],
            past_key_values=cache,
            use_cache=True,
            **more,
        )
        cache.advance(len(embeds))
        return out.last_hidden_state[0]

    def forward_rows(
        self, embeds: Tensor, positions: Tensor, cache: BatchedKVCache, counts: Sequence[int], first: int = 0
    ) -> Tensor:
        """Run new tokens of B requests in one pass; each sees what it would see alone.

        Args:
            embeds: (B, n, H); row i's tokens come first, what follows them is padding.
            positions: (R, B, n) rope positions.
            cache: Whose rows `first` .. `first` + B take them.
            counts: How many of row i's n tokens are true; as many are committed.

        Returns:
            (B, n, H) hidden states after the final norm; behind a row's own tokens they mean nothing.
        """
        use_folded_attention(self.language_model)
        mask = cache.open(slice(first, first + len(embeds)), embeds.shape[1])
        out = self.language_model(
            inputs_embeds=embeds,
            position_ids=positions[0] if len(positions) == 1 else positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        )
        cache.advance(counts)
        hidden: Tensor = out.last_hidden_state
        return hidden

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
    ids = inputs.get("input_ids")
    if not isinstance(ids, Tensor):
        raise RushesError("input_ids are missing: pass all that the processor returned, as tensors")
    if ids.dim() != 2 or ids.shape[0] != 1:
        raise RushesError(f"one request at a time: input_ids of shape (1, S) expected, got {tuple(ids.shape)}")
    if ids.shape[1] == 0:
        raise RushesError("the prompt is empty")
    mask = inputs.get("attention_mask")
    if mask is not None and not bool(mask.bool().all()):
        raise RushesError("padded prompts are not supported: pass the one sequence without padding")
    return ids[0]
