"""Two checkpoints to one pair: compared before any weight is read."""

from rushes.errors import RushesError
from rushes.loading import (
    check_device,
    check_dtype,
    check_weights,
    load_config,
    load_model,
    load_processor,
    load_tokenizer,
)
from rushes.pair import Pair
from rushes.vocabulary import common_vocabulary, refuse_different_vision


def load(
    target: str,
    draft: str | None = None,
    *,
    device: str = "cpu",
    draft_device: str | None = None,
    dtype: str = "auto",
) -> Pair:
    """Load a pair from checkpoint folders or hub ids.

    Configs and tokenizers are compared before any weight is read.

    Args:
        target, draft: Folders or hub ids; without a draft only plain decoding works.
        device, draft_device: Where each lives; the draft goes beside the target by default.
        dtype: "auto" (the checkpoint's), "float32", "bfloat16" or "float16".

    Raises:
        RushesError: Anything that keeps them from working together.
    """
    for place in (device, draft_device or device):
        check_device(place)
    check_dtype(dtype)
    names = [target] if draft is None else [target, draft]
    configs = [load_config(name) for name in names]
    if draft is not None:
        refuse_different_vision(*configs)
    for name in names:
        check_weights(name)
    processor = load_processor(target)
    tokens = processor.tokenizer.get_vocab()
    vocabulary = max(tokens.values()) + 1
    if draft is not None:
        vocabulary = common_vocabulary(tokens, load_tokenizer(draft).get_vocab())
    big = load_model(target, device, dtype)
    small = None if draft is None else load_model(draft, draft_device or device, dtype)
    return Pair(big, small, processor, vocabulary=vocabulary)


def check(target: str, draft: str) -> list[str]:
    """Would this pair work? Reads configs and tokenizers only, no weights.

    Returns:
        Reasons why it would not; empty when it would.
    """
    reasons, configs, tokens = [], [], []
    for name in (target, draft):
        try:
            configs.append(load_config(name))
            # Only the target's processor is used; of the draft, what it calls its tokens.
            tokenizer = load_processor(name).tokenizer if name == target else load_tokenizer(name)
            tokens.append(tokenizer.get_vocab())
        except RushesError as error:
            reasons.append(str(error))
    if not reasons:
        for compare, both in ((refuse_different_vision, configs), (common_vocabulary, tokens)):
            try:
                compare(*both)
            except RushesError as error:
                reasons.append(str(error))
    return reasons
