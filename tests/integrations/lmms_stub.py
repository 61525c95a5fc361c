"""The part of lmms-eval 0.7.3 that the plug-in touches, for machines without it (it wants forty packages).

Signatures as in its wheel: models/registry_v2.py, api/model.py, api/instance.py, models/model_utils/gen_metrics.py.
"""

import abc
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


@dataclass(frozen=True)
class ModelManifest:
    model_id: str
    simple_class_path: str | None = None
    chat_class_path: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass
class TokenCounts:
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass
class GenerationResult:
    text: str
    token_counts: TokenCounts | None = None


@dataclass
class Instance:
    request_type: str
    arguments: tuple[Any, ...]
    idx: int
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def args(self) -> tuple[Any, ...]:
        return self.arguments


class Lmms(abc.ABC):
    is_simple = True

    def __init__(self) -> None:
        self._rank, self._world_size, self.task_dict = 0, 1, dict[str, Any]()

    @abc.abstractmethod
    def loglikelihood(self, requests: list[Instance]) -> Any: ...

    @abc.abstractmethod
    def generate_until(self, requests: list[Instance]) -> Any: ...

    @abc.abstractmethod
    def generate_until_multi_round(self, requests: list[Instance]) -> Any: ...

    @property
    def rank(self) -> int:
        return self._rank

    def clean(self) -> None:
        vars(self).pop("task_dict")


def log_metrics(
    total_elapsed_time: float, total_gen_tokens: int, avg_speed: float, additional_metrics: Any = None
) -> None: ...


def stand_in(patch: pytest.MonkeyPatch) -> None:
    """Put it where imports look, unless the real one is installed."""
    if find_spec("lmms_eval") is not None:
        return
    contents: dict[str, dict[str, Any]] = {
        "lmms_eval": {},
        "lmms_eval.api": {},
        "lmms_eval.api.instance": {
            "GenerationResult": GenerationResult,
            "Instance": Instance,
            "TokenCounts": TokenCounts,
        },
        "lmms_eval.api.model": {"lmms": Lmms},
        "lmms_eval.models": {},
        "lmms_eval.models.registry_v2": {"ModelManifest": ModelManifest},
        "lmms_eval.models.model_utils": {},
        "lmms_eval.models.model_utils.gen_metrics": {"log_metrics": log_metrics},
    }
    for name, content in contents.items():
        module = ModuleType(name)
        module.__dict__.update(content, __path__=[])
        patch.setitem(sys.modules, name, module)


def request(
    doc_id: int, prompt: str, options: dict[str, Any], visuals: Callable[[Any], Any], task: str = "videos"
) -> Any:
    """As `ConfigurableTask.construct_requests` makes them for the simple interface."""
    arguments = (prompt, options, visuals, doc_id, task, "test")
    return SimpleNamespace(args=arguments, arguments=arguments)
