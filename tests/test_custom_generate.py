"""`generate` with our decoding inside gives what `generate` gives, or says in one line why it cannot."""

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import torch

import rushes
from families import FAMILIES
from generating import NEW, draft, model, ours, same, video
from rushes._transformers import transformers
from rushes.demo import bundled
from tiny import contrary, noisy, tiny_qwen2_5_vl, tiny_text_inputs, tiny_video_inputs

METHODS = ("ar", "sd", "specvlm")


@contextmanager
def calls(module: torch.nn.Module) -> Iterator[list[None]]:
    """One entry for each time that a module ran."""
    seen: list[None] = []
    hook = module.register_forward_hook(lambda *_: seen.append(None))
    yield seen
    hook.remove()


class Heard(transformers.generation.streamers.BaseStreamer):
    """A streamer that writes down what it hears."""

    def __init__(self) -> None:
        self.parts: list[list[Any]] = []
        self.kinds: set[Any] = set()
        self.ended = 0

    def put(self, value: torch.Tensor) -> None:
        assert not self.ended
        self.parts.append(value.tolist())
        self.kinds.add((value.dtype, value.device))

    def end(self) -> None:
        self.ended += 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_tensor_is_generates_own(family: str, method: str) -> None:
    target, made_of = model(family), FAMILIES[family].inputs
    for seed in range(2):
        plain, pictured = (made_of(target, image=image, seed=seed) for image in (False, True))
        for inputs in (plain, pictured, tiny_text_inputs(target, seed=seed)):
            wanted = target.generate(**inputs, max_new_tokens=NEW)
            for other in (draft(family), contrary(target), target):
                assert same(ours(target, inputs, method=method, draft=other, keep=0.5), wanted)


def test_what_a_processor_returns_goes_in_as_it_is(video: Path) -> None:
    pair = rushes.load(bundled.TARGET, bundled.DRAFT, dtype="float32")
    assert pair.draft is not None
    for seen in (video, None):
        inputs, _ = pair.inputs(seen, "What happens?")
        with pair.stock_attention():
            wanted = pair.target.model.generate(**inputs, max_new_tokens=NEW)
        assert same(ours(pair.target.model, inputs, draft=pair.draft.model), wanted)


def test_the_draft_saves_passes_of_the_target() -> None:
    twin = deepcopy(model())
    with calls(model().model.language_model.layers[0]) as seen:
        ours(model(), video(), method="sd", draft=twin, gamma=3, max_new_tokens=17)
    assert len(seen) == 1 + 16 // 4


@pytest.mark.parametrize("method", ["ar", "specvlm"])
def test_the_answer_has_generates_length(method: str) -> None:
    length = video()["input_ids"].shape[1]
    for how in ({"max_length": length + 7}, {"max_new_tokens": 1}, {"max_new_tokens": None}):  # None: 20 tokens
        made = ours(model(), video(), method=method, **how)
        assert same(made, model().generate(**video(), **how))
    config = transformers.GenerationConfig(max_new_tokens=9, eos_token_id=2)
    made = ours(model(), video(), method=method, generation_config=config)
    assert same(made, model().generate(**video(), generation_config=config))
    assert made.shape == (1, length + 9)


@pytest.mark.parametrize("method", METHODS)
def test_the_answer_ends_where_this_call_says(method: str) -> None:
    plain = model().generate(**video(), max_new_tokens=NEW)
    written = plain[0, video()["input_ids"].shape[1] :].tolist()
    for at in (0, 4, 11):
        stop = [3, written[at]]
        wanted = model().generate(**video(), max_new_tokens=NEW, eos_token_id=stop)
        assert wanted.shape < plain.shape
        assert same(ours(model(), video(), method=method, eos_token_id=stop), wanted)
    target = deepcopy(model())
    target.generation_config.eos_token_id = written[4]
    assert same(ours(target, video(), method=method), target.generate(**video(), max_new_tokens=NEW))
    assert same(ours(target, video(), method=method, eos_token_id=[]), plain)


@pytest.mark.parametrize("method", METHODS)
def test_the_repetition_penalty_is_the_checkpoints_or_the_calls(method: str) -> None:
    target = deepcopy(model())
    plain = target.generate(**video(), max_new_tokens=NEW)
    target.generation_config.repetition_penalty = 1.5
    wanted = target.generate(**video(), max_new_tokens=NEW)
    assert not torch.equal(wanted, plain)
    assert same(ours(target, video(), method=method), wanted)
    assert same(ours(target, video(), method=method, repetition_penalty=1.0), plain)


def test_a_dictionary_is_returned_where_one_is_asked_for() -> None:
    wanted = model().generate(**video(), max_new_tokens=NEW, return_dict_in_generate=True)
    made = ours(model(), video(), return_dict_in_generate=True)
    assert type(made) is type(wanted)
    assert same(made.sequences, wanted.sequences)


@pytest.mark.parametrize("method", METHODS)
def test_a_streamer_hears_what_generates_streamer_hears(method: str) -> None:
    written = model().generate(**video(), max_new_tokens=NEW)[0, video()["input_ids"].shape[1] :].tolist()
    for stop in (2, written[7]):
        wanted, made = Heard(), Heard()
        model().generate(**video(), max_new_tokens=NEW, eos_token_id=stop, streamer=wanted)
        ours(model(), video(), method=method, eos_token_id=stop, rushes_streamer=made)
        assert made.parts == wanted.parts
        assert made.kinds == wanted.kinds
        assert made.ended == wanted.ended == 1


def test_a_streamer_hears_tokens_as_they_are_accepted() -> None:
    class Impatient(Heard):
        def put(self, value: torch.Tensor) -> None:
            super().put(value)
            if len(self.parts) == 3:
                raise InterruptedError

    with calls(model().model.language_model.layers[0]) as seen, pytest.raises(InterruptedError):
        ours(model(), video(), method="ar", rushes_streamer=Impatient())
    assert len(seen) == 2
    assert same(ours(model(), video()), model().generate(**video(), max_new_tokens=NEW))


def tower(one: Any) -> torch.nn.Module:
    return one.model.visual if hasattr(one.model, "visual") else one.model.vision_tower


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_each_tower_runs_at_most_once(family: str, method: str) -> None:
    target, inputs = model(family), video(family)
    stranger = FAMILIES[family].make(seed=1)
    for other, wanted in ((draft(family), 0), (stranger, int(method != "ar"))):
        with calls(tower(target)) as target_runs, calls(tower(other)) as draft_runs:
            made = ours(target, inputs, method=method, draft=other, keep=0.5)
        assert (len(target_runs), len(draft_runs)) == (1, wanted)
        assert same(made, target.generate(**inputs, max_new_tokens=NEW))


def test_towers_are_compared_once_and_models_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bool] = []
    compare = rushes.pair.same_tower
    monkeypatch.setattr("rushes.pair.same_tower", lambda *both: compared.append(compare(*both)) or compared[-1])
    target = tiny_qwen2_5_vl()
    drafts = [noisy(target, 0.1), tiny_qwen2_5_vl(seed=1)]
    inputs = tiny_video_inputs(target)
    for other in (*drafts, *drafts, target, target):
        ours(target, inputs, draft=other, max_new_tokens=4)
    assert compared == [True, False, True]
    seen = [weakref.ref(one) for one in (target, *drafts)]
    other = drafts.pop()
    del other
    gc.collect()
    assert [one() is None for one in seen] == [False, False, True]
    del target
    drafts.clear()
    gc.collect()
    assert all(one() is None for one in seen)


@pytest.mark.parametrize("family", FAMILIES)
def test_generate_is_afterwards_what_it_was(family: str) -> None:
    target, other = deepcopy(model(family)), deepcopy(draft(family))
    wanted = [one.generate(**video(family), max_new_tokens=NEW) for one in (target, other)]
    for implementation in ("sdpa", "eager"):
        for one in (target, other):
            one.set_attn_implementation(implementation)
        ours(target, video(family), draft=other)
        with pytest.raises(rushes.RushesError):
            ours(target, video(family), draft=other, keep=2)
        for one, before in zip((target, other), wanted, strict=True):
            assert one.model.language_model.config._attn_implementation == implementation
            assert same(one.generate(**video(family), max_new_tokens=NEW), before)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_calls_in_two_threads_do_not_disturb_each_other(attention: str) -> None:
    """The second call begins inside the first and goes on when that one is done."""
    target, small = deepcopy(model()), deepcopy(draft())
    for one in (target, small):
        one.set_attn_implementation(attention)
    wanted = target.generate(**video(), do_sample=False, max_new_tokens=NEW)
    begun, inside, ended = Event(), Event(), Event()
    made: dict[str, torch.Tensor] = {}

    class At:
        """A streamer that does something when the prompt arrives, before anything is computed."""

        def __init__(self, what: Callable[[], object]) -> None:
            self.what: Callable[[], object] | None = what

        def put(self, _: torch.Tensor) -> None:
            if self.what is not None:
                self.what()
                self.what = None

        def end(self) -> None:
            pass

    def call(name: str, what: Callable[[], object]) -> None:
        made[name] = ours(target, video(), draft=small, method="specvlm", keep=0.5, rushes_streamer=At(what))
        if name == "first":
            ended.set()

    first = Thread(target=call, args=("first", lambda: (begun.set(), inside.wait(30))))
    second = Thread(target=call, args=("second", lambda: (inside.set(), ended.wait(30))))
    first.start()
    assert begun.wait(30)
    second.start()
    first.join(60)
    second.join(60)
    assert torch.equal(made["first"], wanted)
    assert torch.equal(made["second"], wanted)
    assert target.config.get_text_config()._attn_implementation == attention
