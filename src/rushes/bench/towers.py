"""Vision towers of published checkpoints, and towers of the bundled architecture that cost the same."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from rushes.bench.planning.shapes import QWEN_PATCH, ModelShape

MERGED = 4  # patches that the bundled architecture makes one video token
ALIGNED = 16  # widths that are no multiple of it make a GPU's matrix products slower


@dataclass(frozen=True, slots=True)
class Tower:
    """The sizes of a vision tower.

    Attributes:
        intermediate: Width of an MLP, which is gated in Qwen2.5-VL and plain elsewhere.
        full_attention: Blocks without windows; None for all.
    """

    hidden: int
    heads: int
    depth: int
    intermediate: int
    full_attention: tuple[int, ...] | None = None


@cache
def bundled_towers() -> dict[str, Tower]:
    """By the names of `planning.shapes.bundled_names`."""
    table = json.loads(files("rushes.bench.planning").joinpath("shapes.json").read_text())["models"]
    towers = {name: row["tower"] for name, row in table.items()}
    return {
        name: Tower(
            **{**tower, "full_attention": tuple(tower["full_attention"]) if "full_attention" in tower else None}
        )
        for name, tower in towers.items()
    }


def tower_of(config: Any) -> Tower:
    """The tower that a config describes, of those that `planning.shapes.from_config` takes."""
    vision = config.vision_config
    hidden = getattr(vision, "embed_dim", None) or vision.hidden_size  # as in from_config
    full = getattr(vision, "fullatt_block_indexes", None)
    return Tower(
        hidden=hidden,
        heads=getattr(vision, "num_heads", None) or vision.num_attention_heads,
        depth=getattr(vision, "depth", None) or vision.num_hidden_layers,
        intermediate=getattr(vision, "intermediate_size", None) or round(hidden * getattr(vision, "mlp_ratio", 4)),
        full_attention=None if full is None else tuple(full),
    )


def hold(trained: Any, published: Tower, shape: ModelShape, out: int) -> Tower:
    """The tower nearest to a published one that can hold the bundled one.

    Qwen2.5-VL's towers are met exactly. Others have heads of another size and plain MLPs: theirs get the next larger
    number of channels that whole heads fill, and MLPs so wide that a video token meets as many weights, over all its
    patches and the projector, as in the published model. Attention is full wherever it can be: the bundled tower has
    blocks with windows, which keep them.

    Args:
        trained: The bundled model's vision config.
        published: What is wanted.
        shape: The published model: its family and how many weights its tower and projector have.
        out: Channels of the language model as built.
    """
    head = trained.hidden_size // trained.num_heads
    heads = max(-(-published.hidden // head), trained.num_heads)
    hidden, depth = heads * head, max(published.depth, trained.depth)
    full = published.full_attention
    windows = [i for i in range(trained.depth) if i not in trained.fullatt_block_indexes]
    if full is None:
        full = tuple(i for i in range(depth) if i not in windows)
    if shape.family == "qwen2_5_vl" and (hidden, depth) == (published.hidden, published.depth):
        return Tower(hidden, heads, depth, max(published.intermediate, trained.intermediate_size), full)
    merged = MERGED * hidden
    projector = merged**2 + merged * out
    each_patch = shape.vision_parameters + (shape.projector_parameters - projector) / MERGED - QWEN_PATCH * hidden
    intermediate = (each_patch / depth - 4 * hidden**2) / (3 * hidden)
    aligned = ALIGNED * round(intermediate / ALIGNED)
    return Tower(hidden, heads, depth, max(aligned, trained.intermediate_size), full)
