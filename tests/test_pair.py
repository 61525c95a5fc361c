"""The public Python API: load, generate, stream, models in memory, and what is refused."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

import rushes as package
from rushes.demo import bundled
from rushes.errors import RushesError
from rushes.pair import Pair, same_tower
from rushes.settings import Settings
from rushes.stats import Stats
from rushes.video import Sampling, read_video
from tiny import noisy, tiny_qwen2_5_vl, tiny_qwen2_vl, tiny_text_inputs, tiny_video_inputs

NEW = 24


@pytest.fixture(scope="module")
def pair() -> Pair:
    return package.load(bundled.TARGET, bundled.DRAFT, dtype="float32")


@pytest.fixture(scope="module")
def plain(pair: Pair, video: Path) -> package.Result:
    return pair.generate(video, method="ar", max_new_tokens=NEW)


def tiny_pair(draft: Callable[[Any], Any]) -> Pair:
    target = tiny_qwen2_5_vl()
    return Pair(target, draft(target))


@contextmanager
def vision_passes(pair: Pair) -> Iterator[dict[str, int]]:
    """Count how often each model's tower runs."""
    assert pair.draft is not None
    counts = {"target": 0, "draft": 0}

    def counting(role: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            counts[role] += 1

        return hook

    hooks = [
        model.model.model.visual.register_forward_hook(counting(role))
        for role, model in (("target", pair.target), ("draft", pair.draft))
    ]
    yield counts
    for hook in hooks:
        hook.remove()


def test_the_package_names_its_public_api() -> None:
    for name in package.__all__:
        assert getattr(package, name).__module__.startswith("rushes.")
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = package.nope


@pytest.mark.parametrize("method", ["ar", "sd", "specvlm", "none+chain+exact+sequential"])
def test_generate_is_plain_decoding(pair: Pair, video: Path, plain: package.Result, method: str) -> None:
    result = pair.generate(video, method=method, max_new_tokens=NEW, check=True)
    assert result.token_ids == plain.token_ids
    assert result.text == plain.text == pair.processor.tokenizer.decode(plain.token_ids, skip_special_tokens=True)
    assert result.check == package.Check(identical=True)
    assert (result.method, result.lossless, result.frames) == (method, True, 8)


def test_a_stream_holds_the_result(pair: Pair, video: Path, plain: package.Result) -> None:
    events = list(pair.stream(video, method="sd", max_new_tokens=NEW))
    *steps, last = events
    assert last.result is not None
    assert all(step.result is None for step in steps)
    assert sum(bool(step.text) for step in steps) > 2
    assert "".join(event.text for event in events) == last.result.text == plain.text
    assert [token for event in events for token in event.token_ids] == last.result.token_ids == plain.token_ids


def test_a_video_may_be_a_path_a_string_or_frames(pair: Pair, video: Path, plain: package.Result) -> None:
    for given in (str(video), read_video(video, Sampling(fps=4))):
        assert pair.generate(given, max_new_tokens=NEW).token_ids == plain.token_ids


def test_a_question_without_a_video(pair: Pair) -> None:
    plain = pair.generate(None, "What is this?", method="ar", max_new_tokens=8)
    for method in ("sd", "specvlm"):
        result = pair.generate(None, "What is this?", method=method, max_new_tokens=8)
        assert result.token_ids == plain.token_ids
        assert (result.frames, result.video_tokens, result.kept_indices) == (0, 0, [])


def test_dtype_and_device_are_honoured(pair: Pair) -> None:
    assert pair.draft is not None
    assert pair.target.dtype == pair.draft.dtype == torch.float32
    half = package.load(bundled.TARGET, dtype="bfloat16", device="cpu")
    assert (half.target.dtype, half.target.device.type) == (torch.bfloat16, "cpu")


def test_bad_settings_are_refused_before_the_video_is_read(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rushes.pair.read_video", lambda *_: pytest.fail("the video was read"))
    for how, words in (
        ({"keep": 2}, "keep must be"),
        ({"method": "specvml"}, "did you mean 'specvlm'"),
        ({"draft_positions": "mixed"}, "must be 'original' or 'repacked', got 'mixed'"),
        ({"check": True, "temperature": 1.0}, "leave the temperature at 0"),
        ({"prompt": " "}, "the prompt is empty"),
    ):
        with pytest.raises(RushesError, match=words):
            pair.generate("any.mp4", **how)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="speed"):
        pair.generate("any.mp4", speed=2)


def test_without_a_processor_there_are_tokens_and_no_text() -> None:
    pair = tiny_pair(lambda target: noisy(target, 0.1))
    inputs = tiny_video_inputs(pair.target.model)
    result = pair.generate_inputs(inputs, max_new_tokens=12)
    assert result.text == ""
    assert len(result.token_ids) == 12
    with pytest.raises(RushesError, match="no processor: pass one to Pair, or use generate_inputs"):
        pair.generate("any.mp4", "Where?")


def test_without_a_draft_only_plain_decoding_works() -> None:
    model = tiny_qwen2_5_vl()
    pair = Pair(model)
    inputs = tiny_video_inputs(model)
    expected = model.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert pair.generate_inputs(inputs, method="ar", max_new_tokens=8).token_ids == expected.tolist()
    for method in ("sd", "specvlm", "none+chain+exact+sequential"):
        with pytest.raises(RushesError, match=r"needs a draft; give one, or use method 'ar' or 'std'$"):
            pair.generate_inputs(inputs, method=method)


def test_one_request_at_a_time() -> None:
    pair = tiny_pair(deepcopy)
    one = tiny_text_inputs(pair.target.model)
    two = {name: tensor.repeat(2, 1) for name, tensor in one.items()}
    with pytest.raises(RushesError, match=r"one request at a time.*got \(2, 9\)"):
        pair.generate_inputs(two)
    padded = {**one, "attention_mask": torch.tensor([[0, *[1] * 8]])}
    with pytest.raises(RushesError, match="padded prompts are not supported"):
        pair.generate_inputs(padded)
    with pytest.raises(RushesError, match="the prompt is empty"):
        pair.generate_inputs({"input_ids": torch.empty(1, 0, dtype=torch.long)})


def test_a_draft_that_holds_too_little_is_refused_before_the_first_token() -> None:
    pair = tiny_pair(lambda target: noisy(target, 0.1))
    assert pair.draft is not None
    inputs = tiny_video_inputs(pair.target.model)  # 14 of text, 18 of video
    pair.draft.config.text_config.max_position_embeddings = 30
    settings = Settings(method="sd", max_new_tokens=4)
    with pytest.raises(RushesError, match=r"prompt has 32 tokens \(18 of them video\).*the draft holds 30"):
        next(pair._events(inputs, Stats(), settings))
    # What counts is what the draft gets to see: 23 and 4.
    assert len(pair.generate_inputs(inputs, keep=0.5, max_new_tokens=4).token_ids) == 4


def test_features_that_do_not_match_the_prompt_are_refused() -> None:
    pair = tiny_pair(deepcopy)
    inputs = tiny_video_inputs(pair.target.model)
    without = {name: value for name, value in inputs.items() if name != "pixel_values_videos"}
    with pytest.raises(RushesError, match="the prompt has 18 video tokens, the features are 0"):
        pair.generate_inputs(without)


@pytest.mark.parametrize("method", ["sd", "specvlm"])
def test_the_same_tower_runs_once(method: str) -> None:
    shared = tiny_pair(lambda target: noisy(target, 0.1))  # its text layers differ, its tower does not
    assert shared.draft is not None
    assert same_tower(shared.target, shared.draft)
    inputs = tiny_video_inputs(shared.target.model)
    with vision_passes(shared) as counts:
        together = shared.generate_inputs(inputs, method=method, keep=0.5, max_new_tokens=12)
    assert counts == {"target": 1, "draft": 0}

    # Sharing is a saving and nothing else: the same windows are drafted from features of one's own.
    shared._share_features = False
    with vision_passes(shared) as counts:
        apart = shared.generate_inputs(inputs, method=method, keep=0.5, max_new_tokens=12)
    assert counts == {"target": 1, "draft": 1}
    assert apart.token_ids == together.token_ids
    windows = [result.metrics["speculative_decoding"] for result in (apart, together)]
    assert windows[0] == windows[1]


def test_another_tower_runs_for_itself() -> None:
    pair = tiny_pair(lambda _: tiny_qwen2_5_vl(seed=1))
    assert pair.draft is not None
    assert not same_tower(pair.target, pair.draft)
    inputs = tiny_video_inputs(pair.target.model)
    for method, seen in (("sd", 1), ("none+chain+exact+sequential", 0), ("ar", 0)):
        with vision_passes(pair) as counts:
            pair.generate_inputs(inputs, method=method, max_new_tokens=12)
        assert counts == {"target": 1, "draft": seen}, method


def test_one_weight_makes_another_tower() -> None:
    pair = tiny_pair(deepcopy)
    assert pair.draft is not None
    assert same_tower(pair.target, pair.draft)
    next(pair.draft.model.model.visual.parameters()).view(-1)[0] += 1e-3
    assert not same_tower(pair.target, pair.draft)


def test_repacked_positions_are_exact_and_change_what_the_draft_sees() -> None:
    pair = tiny_pair(lambda target: noisy(target, 0.02))
    inputs = tiny_video_inputs(pair.target.model, grid=(4, 8, 8))
    plain = pair.generate_inputs(inputs, method="ar", max_new_tokens=40)
    made = {}
    for positions in ("original", "repacked"):
        result = pair.generate_inputs(
            inputs, method="uniform+chain+exact+sequential", keep=0.5, draft_positions=positions, max_new_tokens=40
        )
        assert result.token_ids == plain.token_ids
        made[positions] = result.metrics["speculative_decoding"]["acceptance_histogram"]
    assert made["original"] != made["repacked"]


def test_the_gap_is_that_of_the_penalised_logits() -> None:
    pair = tiny_pair(deepcopy)
    pair.target.model.generation_config.repetition_penalty = 1.6
    inputs = tiny_video_inputs(pair.target.model)
    plain = pair.generate_inputs(inputs, method="ar", max_new_tokens=12).token_ids
    for at in range(12):
        for other in plain[:at]:  # tokens that were written before: the penalty speaks against them
            check = pair.compare(inputs, plain, [*plain[:at], other]) if other != plain[at] else None
            assert check is None or (check.logit_gap is not None and check.logit_gap > 0)


def test_bad_settings_are_refused_when_a_stream_is_asked_for_not_when_it_is_read() -> None:
    with pytest.raises(package.RushesError, match="unknown method"):
        tiny_pair(deepcopy).stream(None, method="nope")


def test_a_difference_is_found_where_it_is() -> None:
    pair = tiny_pair(deepcopy)
    inputs = tiny_video_inputs(pair.target.model)
    plain = pair.generate_inputs(inputs, method="ar", max_new_tokens=12).token_ids
    assert pair.compare(inputs, plain, plain) == package.Check(identical=True)
    wrong = [*plain[:5], (plain[5] + 1 - 7) % 89 + 7, *plain[6:]]
    check = pair.compare(inputs, plain, wrong)
    assert (check.identical, check.first_divergence) == (False, 5)
    assert check.logit_gap is not None
    assert check.logit_gap > 0, "greedy decoding takes the best token"
    assert pair.compare(inputs, plain, plain[:5]) == package.Check(False, 5, None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"video_token_id": 5}, "video_token_id is 6 in the target and 5 in the draft"),
        ({"vision_config": {"patch_size": 8}}, "patch_size is 4 in the target and 8 in the draft"),
    ],
    ids=str,
)
def test_a_draft_that_reads_videos_differently_is_refused(change: dict[str, Any], words: str) -> None:
    target, draft = tiny_qwen2_5_vl(), tiny_qwen2_5_vl(seed=1)
    for name, value in change.items():
        if isinstance(value, dict):
            for inner, changed in value.items():
                setattr(getattr(draft.config, name), inner, changed)
        else:
            setattr(draft.config, name, value)
    with pytest.raises(RushesError, match=words):
        Pair(target, draft)


def test_a_draft_of_a_sister_family_is_welcome() -> None:
    target = tiny_qwen2_5_vl()
    inputs = tiny_video_inputs(target)
    plain = Pair(target).generate_inputs(inputs, method="ar", max_new_tokens=12)
    result = Pair(target, tiny_qwen2_vl(seed=3)).generate_inputs(inputs, method="sd", max_new_tokens=12)
    assert result.token_ids == plain.token_ids


def test_models_of_other_families_are_refused() -> None:
    from rushes._transformers import transformers

    config = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=96
    )
    with pytest.raises(RushesError, match="'llama' is not supported"):
        Pair(transformers.LlamaForCausalLM(config))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"gamma": 2.5}, "gamma must be a whole number or 'auto', got 2.5"),
        ({"gamma": True}, "gamma must be a whole number or 'auto', got True"),
        ({"max_new_tokens": 2.5}, "max_new_tokens must be a whole number, got 2.5"),
        ({"max_new_tokens": None}, "max_new_tokens must be a whole number, got None"),
        ({"seed": 1.5}, "seed must be a whole number, got 1.5"),
        ({"keep": "0.1"}, "keep must be a number, got '0.1'"),
        ({"method": None}, "method must be a word, got None"),
    ],
)
def test_settings_of_a_wrong_kind_are_refused(wrong: dict[str, Any], message: str) -> None:
    model = tiny_qwen2_5_vl()
    with pytest.raises(RushesError, match=message):
        Pair(model, model).generate_inputs(tiny_video_inputs(model), **wrong)


@pytest.mark.parametrize(
    ("lost", "message"), [("input_ids", "input_ids are missing"), ("video_grid_thw", "is missing")]
)
def test_inputs_that_lack_something_are_refused(lost: str, message: str) -> None:
    model = tiny_qwen2_5_vl()
    inputs = tiny_video_inputs(model)
    del inputs[lost]
    with pytest.raises(RushesError, match=message):
        Pair(model).generate_inputs(inputs, method="ar")


def test_a_prompt_that_ends_with_a_picture_is_refused() -> None:
    model = tiny_qwen2_5_vl()
    inputs = tiny_video_inputs(model, text_after=0)
    for name in ("input_ids", "attention_mask", "mm_token_type_ids"):
        inputs[name] = inputs[name][:, :-1]  # the closing token too
    with pytest.raises(RushesError, match="the prompt ends with a picture; put text behind it"):
        Pair(model).generate_inputs(inputs, method="ar")


def test_another_attention_chosen_in_the_meantime_changes_nothing() -> None:
    model = tiny_qwen2_5_vl()
    inputs = tiny_video_inputs(model)
    pair = Pair(model, noisy(model, 0.05))
    wanted = pair.generate_inputs(inputs, method="ar", max_new_tokens=20).token_ids
    for method in ("specvlm", "uniform+chain+exact+sequential"):
        model.set_attn_implementation("eager")
        made = pair.generate_inputs(inputs, method=method, keep=0.5, max_new_tokens=20)
        assert made.token_ids == wanted
        assert made.metrics["accepted_per_round"] > 0


@pytest.mark.parametrize(
    ("video", "prompt", "message"),
    [
        (5, "What?", "a video is a file, a rushes.video.Video or None, got a int"),
        (torch.zeros(4, 28, 28, 3), "What?", "got a Tensor"),
        (None, None, "the prompt must be text, got None"),
    ],
)
def test_a_video_or_prompt_of_a_wrong_kind_is_refused(pair: Pair, video: Any, prompt: Any, message: str) -> None:
    with pytest.raises(RushesError, match=message):
        pair.generate(video, prompt)
