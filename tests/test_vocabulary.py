"""Token maps decide whether two models speak the same tokens, and the family's adapter whether they see alike."""

from functools import cache
from itertools import permutations
from typing import Any

import pytest

from families import FAMILIES
from rushes import Pair, RushesError
from rushes.models.registry import adapter_for
from rushes.vocabulary import common_vocabulary, first_difference, refuse_different_vision

MAP = {"a": 0, "b": 1, "<end>": 7}


def test_equal_maps_reach_to_their_last_token() -> None:
    assert common_vocabulary(MAP, dict(reversed(MAP.items()))) == 8
    assert first_difference(MAP, dict(MAP)) is None


@pytest.mark.parametrize(
    ("draft", "difference"),
    [
        ({"a": 0, "c": 1, "<end>": 7}, "token 1 is 'b' in the target and 'c' in the draft"),
        ({"a": 0, "b": 1}, "token 7 is '<end>' in the target and no token in the draft"),
        ({**MAP, "<more>": 8}, "token 8 is no token in the target and '<more>' in the draft"),
        ({"b": 0, "a": 1, "<end>": 8}, "token 0 is 'a' in the target and 'b' in the draft"),
        ({**MAP, "A": 0}, "token 0 is 'a' in the target and 'A' in the draft"),
    ],
)
def test_the_first_differing_token_is_named(draft: dict[str, int], difference: str) -> None:
    assert first_difference(MAP, draft) == difference
    with pytest.raises(RushesError, match=difference):
        common_vocabulary(MAP, draft)


def test_two_names_of_one_id_are_a_difference_even_when_hidden() -> None:
    assert first_difference({"x": 0, "a": 0}, {"a": 0}) == "one token has two ids"


@cache
def model(family: str) -> Any:
    return FAMILIES[family].make()


KINDS = [family for family in FAMILIES if family != "llava_next_video_mistral"]  # which is one with llava_next_video


SISTERS = {"qwen2_vl", "qwen2_5_vl"}  # they read the same inputs: test_pair.py


@pytest.mark.parametrize(("target", "draft"), [both for both in permutations(KINDS, 2) if set(both) != SISTERS])
def test_a_draft_of_another_family_is_refused_and_both_are_named(target: str, draft: str) -> None:
    with pytest.raises(RushesError, match=f"the target is a {target} and the draft a {draft}: ") as error:
        Pair(model(target), model(draft))
    assert "\n" not in str(error.value)
    with pytest.raises(RushesError, match="take a draft of the target's family"):
        refuse_different_vision(model(target).config, model(draft).config)


@pytest.mark.parametrize("family", FAMILIES)
def test_each_setting_that_says_how_pictures_are_read_must_agree(family: str) -> None:
    target = FAMILIES[family].make().config
    settings = adapter_for(target, "x").must_agree
    assert {"video_token_id", "image_token_id", "vision_config.patch_size"} <= set(settings)
    refuse_different_vision(target, FAMILIES[family].make(9, hidden=32, layers=1, vocab=128).config)
    for name in settings:
        draft: Any = FAMILIES[family].make().config
        *parts, last = name.split(".")
        owner = draft.vision_config if parts else draft
        was = getattr(owner, last)
        other = {"full": "default", "default": "full"}.get(was, "other") if isinstance(was, str) else was + 1
        setattr(owner, last, other)
        with pytest.raises(RushesError, match=f"differently: {name} is {was} in the target and {other} in the draft"):
            refuse_different_vision(target, draft)


def test_one_family_may_have_two_language_models() -> None:
    llama, mistral = model("llava_next_video"), model("llava_next_video_mistral")
    inputs = FAMILIES["llava_next_video"].inputs(llama)
    wanted = llama.generate(**inputs, do_sample=False, max_new_tokens=12)[0, inputs["input_ids"].shape[1] :].tolist()
    assert Pair(llama, mistral).generate_inputs(inputs, method="specvlm", max_new_tokens=12).token_ids == wanted
