"""What an lmms-eval task asks, in our own terms; needs nothing of lmms-eval."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rushes._transformers import transformers
from rushes.errors import RushesError
from rushes.generate_options import NEUTRAL
from rushes.sampling import LEAST_TEMPERATURE

# lmms-eval writes it into every task that names no stop string (`fewshot_delimiter`; api/task.py, TaskConfig). Its own
# Qwen models disregard it, for it cuts answers of several paragraphs; so do we, or scores could not be compared.
FILLER = "\n\n"

_HONOURED = {"max_new_tokens", "do_sample", "temperature", "top_p", "top_k", "repetition_penalty", "seed"}
_OF_BEAMS = {"length_penalty", "early_stopping"}  # change nothing without beams
_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
_SOUNDS = (".wav", ".mp3", ".m4a", ".aac", ".flac", ".ogg", ".opus")


@dataclass(frozen=True, slots=True)
class Question:
    """A request, read.

    Attributes:
        settings: The keyword arguments of `Pair.generate`.
        stops: Strings that end an answer.
    """

    prompt: str
    video: str | None
    settings: dict[str, Any]
    stops: list[str]

    def cut(self, text: str) -> str:
        """An answer up to the first stop string in it."""
        return text[: min((at for stop in self.stops if (at := text.find(stop)) >= 0), default=len(text))]


def read(prompt: str, asked: Mapping[str, Any], visuals: Sequence[Any] | None, defaults: Mapping[str, Any]) -> Question:
    """What a request asks.

    Args:
        prompt, asked: The question and the task's `generation_kwargs`.
        visuals: What goes with it.
        defaults: Settings for what the task leaves open.

    Raises:
        RushesError: Something that rushes has not.
    """
    return Question(prompt, video_of(visuals), {**defaults, **settings_of(asked)}, stops_of(asked))


def settings_of(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Settings` that a task's `generation_kwargs` fill; what they leave open is absent.

    As in transformers, `do_sample=False` is greedy whatever the temperature; without a word about `do_sample` the
    temperature decides, as in lmms-eval's own models. Sampled answers draw their seeds from torch's generator, which
    lmms-eval seeds (`--seed`).

    Raises:
        RushesError: An option of `generate` that would change the answer and that we do not know.
    """
    _refuse_unknown(asked)
    given = {name: asked[name] for name in _HONOURED if asked.get(name) is not None}
    how: dict[str, Any] = {n: given[n] for n in ("max_new_tokens", "repetition_penalty") if n in given}
    sampled = given.get("do_sample", "temperature" in given)
    temperature = given.get("temperature", 1.0)
    if not sampled or temperature < LEAST_TEMPERATURE or given.get("top_k") == 1:
        return how | {"temperature": 0.0}
    how |= {name: given[name] for name in ("top_p", "top_k") if name in given}
    seed = given["seed"] if "seed" in given else int(torch.randint(2**31, ()))
    return how | {"temperature": temperature, "seed": seed}


def _refuse_unknown(asked: Mapping[str, Any]) -> None:
    """Options of other models, such as image_aspect_ratio, are left alone: lmms-eval's tasks carry many."""
    plain = transformers.GenerationConfig()
    for name, value in asked.items():
        if name in _HONOURED | _OF_BEAMS or not hasattr(plain, name):
            continue
        neutral = NEUTRAL.get(name, ())
        if value is not None and value not in (0, getattr(plain, name), *neutral):
            instead = f"{name}={neutral[0]!r}" if neutral else f"{name}=None"
            raise RushesError(f"{name}={value!r} is not supported by rushes; pass --gen_kwargs {instead}")


def stops_of(asked: Mapping[str, Any]) -> list[str]:
    """The strings that end an answer.

    Raises:
        RushesError: `until` is neither a string nor a list of strings.
    """
    until = asked.get("until")
    stops = [] if until is None else [until] if isinstance(until, str) else until
    if not isinstance(stops, list | tuple) or not all(isinstance(stop, str) for stop in stops):
        raise RushesError(f"until must be a string or a list of strings, got {until!r}")
    return [stop for stop in stops if stop and stop != FILLER]


def video_of(visuals: Sequence[Any] | None) -> str | None:
    """The one video of a question, or None for a question without visuals.

    Raises:
        RushesError: Pictures, sounds, several videos, or a part of one.
    """
    only = "rushes answers questions about one video file, or about none; leave this task out"
    visuals = [] if visuals is None else list(visuals)
    for visual in visuals:
        if not isinstance(visual, str | os.PathLike):
            raise RushesError(f"shows a {type(visual).__name__}, not a video file; {only}")
        name = os.fspath(visual)
        for kind, endings in (("picture", _PICTURES), ("sound", _SOUNDS)):
            if name.lower().endswith(endings):
                raise RushesError(f"gives the {kind} {name!r}; {only}")
    if len(visuals) > 1:
        raise RushesError(f"shows {len(visuals)} videos at once; {only}")
    return os.fspath(visuals[0]) if visuals else None
