"""Checkpoint folders of tiny LLaVA models, with all that a real one holds: weights, tokenizer, processor, template."""

from pathlib import Path
from typing import Any

from rushes._transformers import transformers
from rushes.demo import bundled
from tiny import PATCH
from tiny_llava import NEXT_SIDE, ONEVISION_SIDE, tiny_llava_next_video, tiny_llava_onevision

MARKS = ("<image>", "<video>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% else %}<{{ part['type'] }}>\n{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def llava_checkpoint(folder: Path, family: str, seed: int = 0, *, padding: int = 0, **sizes: Any) -> Path:
    """Write a random checkpoint.

    Args:
        folder: to be made.
        family: "llava_onevision" or "llava_next_video".
        seed, sizes: of the model, as in tiny_llava.py.
        padding: rows of the vocabulary behind the last token.
    """
    tokenizer = transformers.AutoTokenizer.from_pretrained(bundled.TARGET)
    tokenizer.add_special_tokens({"extra_special_tokens": list(MARKS)}, replace_extra_special_tokens=False)
    make = {"llava_onevision": tiny_llava_onevision, "llava_next_video": tiny_llava_next_video}[family]
    model = make(seed, vocab=len(tokenizer) + padding, **sizes)
    config: Any = model.config
    config.image_token_index, config.video_token_index = tokenizer.convert_tokens_to_ids(MARKS)
    model.lm_head.weight[len(tokenizer) - len(MARKS) :] *= 0.01  # no stray mark, no padding in an answer
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    processor = _onevision if family == "llava_onevision" else _next_video
    processor(tokenizer, config).save_pretrained(folder)
    return folder


def _onevision(tokenizer: Any, config: Any) -> Any:
    size = {"height": ONEVISION_SIDE * PATCH, "width": ONEVISION_SIDE * PATCH}
    return transformers.LlavaOnevisionProcessor(
        image_processor=transformers.LlavaOnevisionImageProcessor(
            size=size, image_grid_pinpoints=config.image_grid_pinpoints
        ),
        tokenizer=tokenizer,
        video_processor=transformers.LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=ONEVISION_SIDE**2,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        chat_template=TEMPLATE,
    )


def _next_video(tokenizer: Any, config: Any) -> Any:
    side = NEXT_SIDE * PATCH
    sizes = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    return transformers.LlavaNextVideoProcessor(
        video_processor=transformers.LlavaNextVideoVideoProcessor(**sizes),
        image_processor=transformers.LlavaNextImageProcessor(**sizes, image_grid_pinpoints=config.image_grid_pinpoints),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
