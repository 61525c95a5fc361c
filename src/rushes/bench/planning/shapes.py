"""The sizes of a model that decide its cost: of published checkpoints, of the stand-ins, of any config."""

import json
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any

from rushes.bench.standin import DEMO_SHAPES, Shape
from rushes.errors import RushesError

QWEN_PATCH = 14 * 14 * 2 * 3  # numbers of one patch: pixels, frames, colours


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A language model of gated MLPs and grouped heads, and its vision tower as a count of parameters.

    Attributes:
        family: The config's `model_type`.
        vision_parameters: Weights that every patch meets.
        projector_parameters: Weights that every video token meets on its way out of the tower.
        patches_per_token: Patches that become one video token.
    """

    name: str
    family: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool
    vision_parameters: int
    projector_parameters: int
    patches_per_token: float

    @property
    def layer_parameters(self) -> int:
        """Weights of all decoder layers."""
        attention = 2 * self.hidden * self.head_dim * (self.heads + self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def head_parameters(self) -> int:
        """Weights of the vocabulary projection."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All weights, tied ones counted once; norms and biases are left out."""
        embeddings = self.head_parameters * (1 if self.tied else 2)
        return self.layer_parameters + embeddings + self.vision_parameters + self.projector_parameters

    def kv_bytes(self, width: int) -> int:
        """Cache bytes of one token, all layers, at `width` bytes a number."""
        return 2 * self.layers * self.kv_heads * self.head_dim * width


def bundled_names() -> list[str]:
    """Checkpoints whose sizes are known without a network."""
    return list(_bundled())


def find(name: str) -> ModelShape:
    """The shape of a bundled name, a checkpoint folder or a hub id; only a config is read.

    Raises:
        RushesError: As `rushes.loading.load_config`; or a config without one of the sizes.
    """
    if name in _bundled():
        return _bundled()[name]
    from rushes.loading import load_config  # transformers is slow to import, and bundled names do not need it

    return from_config(load_config(name), name)


def demo(role: str) -> ModelShape:
    """The stand-in pair of `rushes demo`: "target" or "draft"."""
    shape: Shape = DEMO_SHAPES[role]
    wide, inner = shape.vision_hidden_size, shape.vision_intermediate_size
    merged = 4 * wide
    return ModelShape(
        name=f"demo {role}",
        family="qwen2_5_vl",
        layers=shape.num_hidden_layers,
        hidden=shape.hidden_size,
        heads=shape.num_attention_heads,
        kv_heads=shape.num_key_value_heads,
        head_dim=shape.hidden_size // shape.num_attention_heads,
        intermediate=shape.intermediate_size,
        vocabulary=shape.vocab_size,
        tied=True,
        vision_parameters=shape.vision_depth * (4 * wide**2 + 3 * wide * inner) + QWEN_PATCH * wide,
        projector_parameters=merged**2 + merged * shape.hidden_size,
        patches_per_token=4.0,
    )


def from_config(config: Any, name: str) -> ModelShape:
    """The shape that a config of a supported family describes; mixture-of-experts models are refused.

    Raises:
        RushesError: A size is missing, or the model's cost cannot be told from these sizes.
    """
    text, tower = config.get_text_config(), config.vision_config
    if getattr(text, "num_experts", 0):
        raise RushesError(f"{name}: a mixture of experts; plan only knows the cost of dense models")

    def size(part: Any, *names: str) -> int:
        value = next((getattr(part, one) for one in names if getattr(part, one, None)), None)
        if not isinstance(value, int) or value < 1:
            raise RushesError(f"{name}: the config has no usable {names[0]}, got {value!r}; plan needs it")
        return value

    hidden, heads = size(text, "hidden_size"), size(text, "num_attention_heads")
    # Qwen2-VL's tower calls its channels embed_dim; its hidden_size is the language model's.
    wide, depth = size(tower, "embed_dim", "hidden_size"), size(tower, "depth", "num_hidden_layers")
    inner = getattr(tower, "intermediate_size", None) or round(wide * getattr(tower, "mlp_ratio", 4))
    merge = getattr(tower, "spatial_merge_size", None)
    # Qwen2.5-VL's tower has gated MLPs. LLaVA's pool 2 x 2 patches behind their projector, with odd rows padded.
    matrices = 3 if config.model_type == "qwen2_5_vl" else 2
    merged = merge**2 * wide if merge else wide
    frames = getattr(tower, "temporal_patch_size", None) or 1
    patch = size(tower, "patch_size") ** 2 * frames * (getattr(tower, "in_channels", None) or 3)
    return ModelShape(
        name=name,
        family=config.model_type,
        layers=size(text, "num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_dim=getattr(text, "head_dim", None) or hidden // heads,
        intermediate=size(text, "intermediate_size"),
        vocabulary=size(text, "vocab_size"),
        tied=bool(getattr(config, "tie_word_embeddings", False)),
        vision_parameters=depth * (4 * wide**2 + matrices * wide * inner) + patch * wide,
        projector_parameters=merged**2 + merged * hidden if merge else merged * hidden + hidden**2,
        patches_per_token=float(merge**2) if merge else 3.72,
    )


def refuse_strangers(target: ModelShape, draft: ModelShape) -> None:
    """Only models that read the same inputs can be a pair; `rushes check` compares their tokens as well.

    Raises:
        RushesError: They are of different families.
    """
    if target.family == draft.family:
        return
    from rushes.models.registry import ADAPTERS

    ours, theirs = (next((one for one in ADAPTERS if s.family in one.families), None) for s in (target, draft))
    if ours is None or theirs is None or (ours is not theirs and (not ours.kin or ours.kin != theirs.kin)):
        raise RushesError(
            f"{draft.name} ({draft.family}) cannot draft for {target.name} ({target.family}): they read videos "
            "differently; take a draft of the target's family"
        )


@cache
def _bundled() -> dict[str, ModelShape]:
    table = json.loads(files(__package__).joinpath("shapes.json").read_text())["models"]
    known = {field.name for field in fields(ModelShape)}
    return {
        name: ModelShape(name=name, **{key: value for key, value in row.items() if key in known})
        for name, row in table.items()
    }


def published_parameters() -> dict[str, float]:
    """What the hub page of each bundled shape states: the check on its sizes."""
    table = json.loads(files(__package__).joinpath("shapes.json").read_text())["models"]
    return {name: row["published_parameters"] for name, row in table.items()}
