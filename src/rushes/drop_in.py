"""`model.generate(**inputs, custom_generate=rushes.custom_generate, draft=draft)`: a drop-in for transformers users."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from rushes._transformers import transformers
from rushes.errors import RushesError
from rushes.generate_options import ends_of, refuse_config, refuse_model_inputs, refuse_positions, sampling_of
from rushes.models.base import single_request
from rushes.pair import Pair
from rushes.settings import Settings

# target -> draft -> do their towers hold the same weights? Answers only: a Pair would keep its models alive.
_SHARED: WeakKeyDictionary[Any, WeakKeyDictionary[Any, bool]] = WeakKeyDictionary()
# Config -> how many calls use its model now, and the attention that the first of them found.
_FOUND: dict[int, tuple[int, str]] = {}
_LOCK = Lock()


def custom_generate(
    model: Any,
    input_ids: Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    *,
    draft: Any = None,
    method: str = "specvlm",
    keep: float = 0.1,
    gamma: int | str | None = None,
    draft_positions: str = "original",
    seed: int | None = None,
    rushes_streamer: Any = None,
    pixel_values: Any = None,
    pixel_values_videos: Any = None,
    image_grid_thw: Any = None,
    video_grid_thw: Any = None,
    second_per_grid_ts: Any = None,
    mm_token_type_ids: Any = None,
    image_sizes: Any = None,
    image_sizes_videos: Any = None,
    batch_num_images: Any = None,
    **model_kwargs: Any,
) -> Any:
    """Decode with a draft inside transformers' `generate`; what it returns is what `generate` returns without it.

    `out = model.generate(**inputs, custom_generate=rushes.custom_generate, draft=draft, max_new_tokens=256)`

    Supported options of `generate`: max_new_tokens, max_length, eos_token_id, do_sample, temperature, top_k, top_p,
    repetition_penalty, return_dict_in_generate; from the call, a generation config or the checkpoint. Everything else
    that would change the answer is refused by name, and so are batches, padding, a cache, embeddings or positions of
    one's own, `output_scores` and its kin, and a prompt that with its answer does not fit the context length.

    With a lossless method, greedy answers are the same tokens. With `do_sample=True` the distribution is the same, not
    the random numbers: `torch.manual_seed` does not reach them, `seed` does. A temperature below 1e-5 and a top-k of 1
    are greedy.

    The pictures are named here because `generate` then hands them over as they are; it would otherwise encode them
    itself and keep the pixels, which a draft with another vision tower needs. So each tower runs once, and the draft's
    not at all where both hold the same weights.

    `generate` keeps `streamer` and `assistant_model` to itself and says nothing: its streamer would get the prompt, and
    then wait for ever. Pass `rushes_streamer` instead. The first call for two models compares their towers and
    remembers the answer as long as both live; a tower that changes later costs acceptance, never exactness. While a
    call runs, the text models use rushes' attention; then their own is back.

    Args:
        model: The target, of a supported family, in eval mode.
        input_ids: (1, S).
        logits_processor, stopping_criteria, generation_config: As `generate` prepares them.
        draft: A loaded smaller model with the same tokens, also in eval mode.
        method: As in `Settings`; "ar", and methods whose target drafts for itself, need no draft.
        keep: Share of the video tokens that the draft sees, 0..1.
        gamma, draft_positions: As in `Settings`.
        seed: For sampling; None takes a random one.
        rushes_streamer: Gets `put` with the prompt, (1, S), and with each token, (1,), as it is accepted; then `end`.
        pixel_values, pixel_values_videos, image_grid_thw, video_grid_thw, second_per_grid_ts, mm_token_type_ids,
            image_sizes, image_sizes_videos, batch_num_images: What the processor returned.
        **model_kwargs: What else `generate` would hand to the model.

    Returns:
        (1, S + new) ids, prompt first; with `return_dict_in_generate` an object whose `sequences` they are.

    Raises:
        RushesError: In one line: an option that is not supported, an unknown method, models that do not go together.
    """
    refuse_config(generation_config)
    pictures = {
        "pixel_values": pixel_values,
        "pixel_values_videos": pixel_values_videos,
        "image_grid_thw": image_grid_thw,
        "video_grid_thw": video_grid_thw,
        "second_per_grid_ts": second_per_grid_ts,
        "mm_token_type_ids": mm_token_type_ids,
        "image_sizes": image_sizes,
        "image_sizes_videos": image_sizes_videos,
        "batch_num_images": batch_num_images,
    }
    refuse_model_inputs(model_kwargs)
    inputs = {name: value for name, value in pictures.items() if value is not None}
    inputs |= {"input_ids": input_ids, "attention_mask": model_kwargs.get("attention_mask")}
    length = len(single_request(inputs))
    refuse_positions(model_kwargs.get("position_ids"), length)
    _refuse_unknown_kinds(model, inputs)
    max_new_tokens, eos = ends_of(stopping_criteria, length)
    settings = Settings(
        method=method,
        keep=keep,
        gamma=gamma,
        draft_positions=draft_positions,
        seed=seed,
        max_new_tokens=max_new_tokens,
        **sampling_of(logits_processor, bool(generation_config.do_sample)),
    )
    _refuse_models(model, draft)

    answer: list[int] = []
    with _attention_restored(model, draft):
        steps = _pair(model, draft).tokens(inputs, settings, eos)
        if rushes_streamer is not None:
            rushes_streamer.put(input_ids.cpu())
        for tokens in steps:
            answer += tokens
            for token in tokens if rushes_streamer is not None else ():
                rushes_streamer.put(torch.tensor([token]))
    if rushes_streamer is not None:
        rushes_streamer.end()
    sequences: Any = torch.cat([input_ids, torch.tensor([answer], device=input_ids.device)], dim=1)
    if generation_config.return_dict_in_generate:
        return transformers.generation.GenerateDecoderOnlyOutput(sequences=sequences)
    return sequences


def _refuse_unknown_kinds(model: Any, inputs: dict[str, Any]) -> None:
    """Without the kinds of its tokens, `generate` numbers a prompt with pictures like one without."""
    rule = getattr(model.base_model, "get_rope_index", None)
    seen = "pixel_values" in inputs or "pixel_values_videos" in inputs
    if rule is None or not seen or "mm_token_type_ids" in inputs:
        return
    if "mm_token_type_ids" in inspect.signature(rule).parameters:
        raise RushesError("mm_token_type_ids are missing: pass all that the processor returned")


def _refuse_models(model: Any, draft: Any) -> None:
    if draft is not None and not isinstance(draft, torch.nn.Module):
        raise RushesError(f"draft must be a loaded model, got {draft!r}; load it with from_pretrained")
    for name, one in (("model", model), ("draft", draft)):
        if one is not None and one.training:
            raise RushesError(f"the {name} is in training mode; call its eval() first")


def _pair(model: Any, draft: Any) -> Pair:
    """A pair for one call. Its parts are light; what takes time is comparing the towers."""
    known = _SHARED.setdefault(model, WeakKeyDictionary())
    pair = Pair(model, draft, share_features=None if draft is None else known.get(draft))
    if draft is not None:
        known[draft] = pair.shares_features
    return pair


@contextmanager
def _attention_restored(*models: Any) -> Iterator[None]:
    """A pair sets its own attention; a user who chose flash attention for `generate` gets it back.

    Calls in several threads may share a model: the last one to leave restores what the first one found.
    """
    configs = [model.config.get_text_config() for model in models if model is not None]
    with _LOCK:
        for config in configs:
            users, found = _FOUND.get(id(config), (0, config._attn_implementation))
            _FOUND[id(config)] = users + 1, found
    try:
        yield
    finally:
        with _LOCK:
            for config in configs:
                users, found = _FOUND.pop(id(config))
                if users > 1:
                    _FOUND[id(config)] = users - 1, found
                else:
                    config._attn_implementation = found
