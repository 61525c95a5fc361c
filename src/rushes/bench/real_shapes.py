"""Stand-ins at the sizes of published checkpoints: the bundled pair, widened, without a byte of theirs.

What they compute costs what the published models cost, and says what the bundled pair says. So the wall clock of a
pair of such sizes and an acceptance by trained models are measured in one run.

The architecture stays the bundled one, Qwen2.5-VL, whatever the shape. Of a Qwen2.5-VL every size is met. Of other
families the sizes of the language model are taken: hidden, layers, heads, key-value heads, MLPs, vocabulary. Their
vision towers are replaced by one that costs as much (`towers.hold`). Q/K norms, deepstack layers, extra biases and
pooling are not rebuilt. Heads keep the trained 128 channels: of 14 heads of 64 become 7 of 128, the same matrices and
the same cache. A size below the bundled model's, which cannot hold it, becomes the bundled model's. `StandIn.notes`
names every size that differs.

In fp32 the logits are the bundled model's up to the order of sums. In bf16 the norm weights are rounded as well where
the channels did not grow by a power of 4 (see `standin.py`): near ties may fall the other way, as under another
kernel. Where layers or heads do not grow by whole factors, as 6 to 28, the mean attention that scorers read weighs
the trained ones unevenly: a scorer may rank video tokens a little differently than at the trained size.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rushes.bench.planning import shapes
from rushes.bench.planning.shapes import ModelShape
from rushes.bench.room import refuse_too_big, weight_bytes
from rushes.bench.standin import Shape, outline, parameters, standin_config, widen
from rushes.bench.towers import Tower, bundled_towers, hold, tower_of
from rushes.demo import bundled
from rushes.errors import RushesError, unknown_name
from rushes.loading import check_device, load_config, load_model, load_processor
from rushes.pair import Pair

CONTEXT = 8192  # tokens that the caches are checked for, unless told


@dataclass(frozen=True)
class StandIn:
    """A stand-in that can be built.

    Attributes:
        shape: The published model.
        small: The bundled model that it will hold.
        config: As `widen` takes it.
        notes: What it is, and every size that is not the published one; one line each.
    """

    shape: ModelShape
    small: Any
    config: Any
    notes: tuple[str, ...]

    def bytes(self, context: int, dtype: torch.dtype) -> int:
        """Of the weights and of a cache for this many tokens; activations come on top."""
        text, head = self.config.text_config, self.small.config.text_config
        channels = text.num_key_value_heads * (head.hidden_size // head.num_attention_heads)
        cache = 2 * text.num_hidden_layers * channels * context * dtype.itemsize
        return weight_bytes(outline(self.small, self.config, dtype=dtype)) + cache


def find(name: str) -> tuple[ModelShape, Tower]:
    """The sizes of a bundled name or of a folder with a config.json; nothing is fetched.

    Raises:
        RushesError: Neither, with the nearest name; or a config that does not tell its sizes.
    """
    if name in bundled_towers():
        return shapes.find(name), bundled_towers()[name]
    if not Path(name).is_dir():
        raise unknown_name("shape", name, shapes.bundled_names())
    config = load_config(name)
    return shapes.from_config(config, name), tower_of(config)


def stand_in(small: Any, name: str, role: str) -> StandIn:
    """Fit a published shape around a bundled model.

    Args:
        small: The bundled model.
        name: As `find` takes it.
        role: "target" or "draft", for the notes.

    Raises:
        RushesError: As `find`.
    """
    shape, published = find(name)
    trained = small.config.text_config
    head, group = trained.hidden_size // trained.num_attention_heads, trained.num_attention_heads
    group //= trained.num_key_value_heads
    kv_heads = max(-(-shape.kv_heads * shape.head_dim // head), trained.num_key_value_heads)
    heads = kv_heads * max(-(-shape.heads * shape.head_dim // (head * kv_heads)), group)
    hidden = max(shape.hidden, trained.hidden_size)
    tower = hold(small.config.vision_config, published, shape, hidden)
    sizes = Shape(
        hidden_size=hidden,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=max(shape.intermediate, trained.intermediate_size),
        num_hidden_layers=max(shape.layers, trained.num_hidden_layers),
        vocab_size=max(shape.vocabulary, trained.vocab_size),
        vision_hidden_size=tower.hidden,
        vision_num_heads=tower.heads,
        vision_intermediate_size=tower.intermediate,
        vision_depth=tower.depth,
    )
    config: Any = standin_config(small, sizes)
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = shape.tied
    config.vision_config.fullatt_block_indexes = list(tower.full_attention or ())
    if heads * head != hidden:
        config.text_config.head_dim = head
    count = parameters(outline(small, config))
    notes = (
        f"{role}: shapes of {name}, architecture of the bundled family (Qwen2.5-VL): {count / 1e9:.2f}B parameters",
        *(f"{role}: {line}" for line in _differences(shape, published, sizes, tower, head)),
    )
    return StandIn(shape, small, config, notes)


def stand_ins(spec: str) -> tuple[StandIn, StandIn]:
    """Target and draft of "TARGET,DRAFT"; their weights are not built.

    Raises:
        RushesError: Not two names, or not names of a pair: unknown, of strange families, the draft the larger one;
            or the bundled pair is missing.
    """
    names = [name.strip() for name in spec.split(",")]
    if len(names) != 2 or not all(names):
        example = "Qwen/Qwen2.5-VL-32B-Instruct,Qwen/Qwen2.5-VL-7B-Instruct"
        raise RushesError(f"a stand-in is TARGET,DRAFT, two shapes such as {example}; got {spec!r}")
    target, draft = (find(name)[0] for name in names)
    shapes.refuse_strangers(target, draft)
    if draft.parameters > target.parameters:
        sizes = (f"{one.name} has {one.parameters / 1e9:.2f}B parameters" for one in (draft, target))
        raise RushesError(f"the draft is larger than the target: {', '.join(sizes)}; swap them")
    bundled.refuse_without_weights()
    smalls = (load_model(name, "cpu", "float32") for name in (bundled.TARGET, bundled.DRAFT))
    big, little = (
        stand_in(small, name, role) for small, name, role in zip(smalls, names, ("target", "draft"), strict=True)
    )
    return big, little


def pair_of(
    spec: str,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.bfloat16,
    *,
    context: int = CONTEXT,
) -> Pair:
    """Build both stand-ins on the device, one matrix after the other; nothing of their size is ever on the host.

    At the peak the device holds the finished weights and, beside the matrix in work, a small share of it.

    Args:
        spec: "TARGET,DRAFT": each a name of `planning.shapes.bundled_names` or a folder with a config.json.
        context: Tokens, prompt and answer, that the caches must have room for. The models take as many, or the
            bundled pair's own 4096 if that is more, which is all it was trained for.

    Raises:
        RushesError: As `stand_ins`; no such device; or weights and caches do not fit into what is free there.
    """
    place = check_device(str(device))
    if context < 1:
        raise RushesError(f"the context must be 1 token or more, got {context}")
    both = stand_ins(spec)
    refuse_too_big(f"{spec} at {context} tokens", sum(one.bytes(context, dtype) for one in both), place)
    processor = load_processor(bundled.TARGET)
    models = []
    for one in both:
        try:
            model = widen(one.small, one.config, dtype=dtype, device=place)
        except torch.OutOfMemoryError as error:
            raise RushesError(f"{one.shape.name} does not fit into the memory of {place}") from error
        text: Any = model.config.text_config
        text.max_position_embeddings = max(text.max_position_embeddings, context)
        models.append(model)
    vocabulary = max(processor.tokenizer.get_vocab().values()) + 1
    # The towers are trained apart; comparing 0.6B noise weights would only take time.
    return Pair(models[0], models[1], processor, vocabulary=vocabulary, share_features=False)


def _differences(shape: ModelShape, published: Tower, sizes: Shape, tower: Tower, head: int) -> list[str]:
    """In words, what is not as published."""
    lines = []
    for what, wanted, taken in (
        ("hidden size", shape.hidden, sizes.hidden_size),
        ("layers", shape.layers, sizes.num_hidden_layers),
        ("MLP width", shape.intermediate, sizes.intermediate_size),
        ("vocabulary", shape.vocabulary, sizes.vocab_size),
    ):
        if wanted != taken:
            lines.append(f"{what} {taken} in place of {wanted}")
    heads = (sizes.num_attention_heads, sizes.num_key_value_heads, head)
    if heads != (shape.heads, shape.kv_heads, shape.head_dim):
        wanted_heads = f"{shape.heads} ({shape.kv_heads} of them key-value) of {shape.head_dim}"
        lines.append(f"{heads[0]} heads ({heads[1]} of them key-value) of {head} channels in place of {wanted_heads}")
    if tower != published:
        lines.append(
            f"vision tower of {tower.depth} blocks, {tower.hidden} channels and gated MLPs of {tower.intermediate} in "
            f"place of {published.depth}, {published.hidden} and {published.intermediate}: "
            "about as many weights for each video token"
        )
    return lines
