"""The plug-in for lmms-eval, held against lmms-eval itself where it is installed.

Elsewhere a stand-in with the names and signatures of its release 0.7.3 takes its place (`lmms_stub`), so that this is
a test by contract; with the real one the whole command line was run as well.
"""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from lmms_stub import request, stand_in

from rushes.demo import bundled
from rushes.errors import RushesError
from rushes.integrations.lmms_asked import Question, settings_of, stops_of, video_of
from rushes.result import Result

METRICS: dict[str, Any] = {
    "speculative_decoding": {"num_spec_steps": 2, "num_accepted_draft_tokens": 5},
    "time_s": {"decoding": 0.5, "total": 1.0},
}
ANSWER = Result("Red. Then blue.\n\nEnd", [1, 2, 3], "eos", "specvlm", True, 4, 8, [], METRICS)


class FakePair:
    """Answers with the question, and remembers how it was asked."""

    def __init__(self, lossless: bool = True) -> None:
        self.asked: list[tuple[Any, str, dict[str, Any]]] = []
        self._answer = replace(ANSWER, lossless=lossless)

    def generate(self, video: Any, prompt: str, **how: Any) -> Result:
        self.asked.append((video, prompt, how))
        if prompt == "broken":
            raise RushesError("the file is damaged")
        return replace(self._answer, text=f"{prompt}: {self._answer.text}")


@pytest.fixture(scope="module")
def model() -> Iterator[Any]:
    """The module of the model class."""
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch)
        yield import_module("rushes.integrations.lmms_model")
    sys.modules.pop("rushes.integrations.lmms_model")


@pytest.fixture
def pair(model: Any, monkeypatch: pytest.MonkeyPatch) -> FakePair:
    made = FakePair()
    monkeypatch.setattr(model, "load", lambda *_, **__: made)
    return made


def rushes_model(model: Any, docs: list[Any], task: str = "videos", **args: Any) -> Any:
    made = model.Rushes(**{"target": "big", "draft": "small", "batch_size": 1, **args})
    made.task_dict[task] = {"test": docs}
    return made


def test_the_entry_point_is_declared_and_gives_the_model(model: Any) -> None:
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["entry-points"][
        "lmms_eval.models"
    ]
    [(name, value)] = declared.items()
    manifest = EntryPoint(name, value, "lmms_eval.models").load()()
    assert (name, manifest.model_id, manifest.chat_class_path) == ("rushes", "rushes", None)
    home, kind = manifest.simple_class_path.rsplit(".", 1)
    found = getattr(import_module(home), kind)
    assert found is model.Rushes
    assert found.is_simple
    assert issubclass(found, import_module("lmms_eval.api.model").lmms)
    assert not found.__abstractmethods__


def test_rushes_itself_does_without_lmms_eval() -> None:
    code = "import sys, rushes; rushes.load; assert not any('lmms' in name for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_answers_come_in_the_order_of_the_requests(
    model: Any, pair: FakePair, capsys: pytest.CaptureFixture[str]
) -> None:
    lm = rushes_model(model, ["a.mp4", "b.mp4", None], gamma="4", keep=0.2, fps="0.5")
    order = [2, 0, 1]
    options = {
        "max_new_tokens": 16,
        "temperature": 0,
        "top_p": 0,
        "num_beams": 1,
        "do_sample": False,
        "until": ["\n\n"],
    }
    made = lm.generate_until([request(i, f"q{i}", options, lambda doc: [doc] if doc else None) for i in order])
    assert [answer.text for answer in made] == [f"q{i}: {ANSWER.text}" for i in order]
    assert [answer.token_counts.output_tokens for answer in made] == [3, 3, 3]
    assert [asked[0] for asked in pair.asked] == [None, "a.mp4", "b.mp4"]
    assert pair.asked[0][2] == {
        "method": "specvlm",
        "keep": 0.2,
        "gamma": 4,
        "positions": "stock",
        "max_new_tokens": 16,
        "temperature": 0.0,
        "frames": None,
        "fps": 0.5,
    }
    said = capsys.readouterr().err.splitlines()
    [line] = [line for line in said if line.startswith("rushes specvlm:")]
    assert line.endswith("3 answers, 9 tokens, 2.50 accepted per round, 4.0 tokens/s in decoding, lossless")


def test_loose_answers_are_called_so(
    model: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(model, "load", lambda *_, **__: FakePair(lossless=False))
    rushes_model(model, [None], method="lvspec").generate_until([request(0, "q", {}, lambda _: [])])
    assert "not lossless" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "made"),
    [
        ({}, {"temperature": 0.0}),
        (
            {"max_new_tokens": 9, "image_aspect_ratio": "pad", "use_cache": True},
            {"temperature": 0.0, "max_new_tokens": 9},
        ),
        ({"temperature": 0.7, "do_sample": False, "top_p": 0.9}, {"temperature": 0.0}),
        ({"temperature": 1e-6, "do_sample": True}, {"temperature": 0.0}),
        ({"temperature": 1.0, "top_k": 1}, {"temperature": 0.0}),
        ({"temperature": 0.7, "top_p": 0.9, "seed": 3}, {"temperature": 0.7, "top_p": 0.9, "seed": 3}),
        ({"do_sample": True, "top_k": 5, "top_p": None, "seed": 3}, {"temperature": 1.0, "top_k": 5, "seed": 3}),
        ({"repetition_penalty": 1.2, "length_penalty": 2.0}, {"temperature": 0.0, "repetition_penalty": 1.2}),
    ],
)
def test_generation_kwargs_mean_what_they_mean_elsewhere(asked: dict[str, Any], made: dict[str, Any]) -> None:
    assert settings_of(asked) == made


def test_every_sampled_answer_has_a_seed_of_its_own() -> None:
    assert len({settings_of({"temperature": 1.0})["seed"] for _ in range(3)}) == 3


@pytest.mark.parametrize(
    ("until", "answer"),
    [
        (None, "Red. Then blue.\n\nEnd"),
        ([], "Red. Then blue.\n\nEnd"),
        (["\n\n"], "Red. Then blue.\n\nEnd"),
        ("blue", "Red. Then "),
        (["blue", "Then", ""], "Red. "),
        (["never"], "Red. Then blue.\n\nEnd"),
        (["Red"], ""),
    ],
)
def test_the_first_stop_string_ends_an_answer(until: Any, answer: str) -> None:
    """But two line ends do not: lmms-eval fills them in where a task names none."""
    assert Question("q", None, {}, stops_of({"until": until})).cut(ANSWER.text) == answer


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"num_beams": 4}, "num_beams=4 is not supported by rushes; pass --gen_kwargs num_beams=1"),
        ({"no_repeat_ngram_size": 3}, "no_repeat_ngram_size=3 is not supported"),
        ({"num_return_sequences": 2}, "num_return_sequences=2 is not supported"),
        ({"until": 3}, "until must be a string or a list of strings, got 3"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"temperature": 0.5, "top_p": 0}, "top_p must be above 0"),
    ],
)
def test_options_are_refused_before_anything_is_answered(
    model: Any, pair: FakePair, asked: dict[str, Any], said: str
) -> None:
    lm = rushes_model(model, [None])
    lm.task_dict["other"] = lm.task_dict["videos"]
    with pytest.raises(RushesError, match=f"^other, document 0: .*{said}"):
        lm.generate_until([request(0, "q", {}, lambda _: []), request(0, "q", asked, lambda _: [], "other")])
    assert pair.asked == []


def test_sampling_and_loose_verification_exclude_each_other(model: Any, pair: FakePair) -> None:
    lm = rushes_model(model, [None], method="lvspec")
    with pytest.raises(RushesError, match="leave the temperature at 0"):
        lm.generate_until([request(0, "q", {"temperature": 0.5}, lambda _: [])])


@pytest.mark.parametrize(
    ("visuals", "said"),
    [
        ([object()], "shows a object, not a video file"),
        ([{"video_start": 1}], "shows a dict"),
        (["a.JPG"], "gives the picture 'a.JPG'"),
        (["a.wav"], "gives the sound 'a.wav'"),
        (["a.mp4", "b.mp4"], "shows 2 videos at once"),
    ],
)
def test_only_one_video_is_shown(model: Any, pair: FakePair, visuals: list[Any], said: str) -> None:
    lm = rushes_model(model, [None], task="pictures")
    with pytest.raises(RushesError, match=f"^pictures, document 0: {said}.*; leave this task out$"):
        lm.generate_until([request(0, "q", {}, lambda _: visuals, "pictures")])


def test_a_path_may_be_an_object() -> None:
    assert video_of([Path("a.mp4")]) == "a.mp4"


def test_what_the_pair_refuses_is_said_with_the_document(model: Any, pair: FakePair) -> None:
    with pytest.raises(RushesError, match=r"^videos, document 1: the file is damaged$"):
        rushes_model(model, [None, None]).generate_until([request(1, "broken", {}, lambda _: [])])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"target": None}, "no target given; pass --model_args target=CHECKPOINT,draft=.*target=demo"),
        ({"target": "demo"}, "brings its own draft"),
        ({"draft": None}, "needs a draft; pass draft=CHECKPOINT, or method=ar"),
        ({"methd": "sd"}, "unknown model argument 'methd'; did you mean 'method'"),
        ({"batch_size": 8}, "one question at a time; pass --batch_size 1, not 8"),
        ({"batch_size": "auto"}, "not auto"),
        ({"keep": 2}, "keep"),
        ({"gamma": "many"}, "gamma"),
        ({"method": "nonsense"}, "nonsense"),
        ({"frames": 4, "fps": 2}, "exclude each other"),
    ],
)
def test_bad_arguments_are_one_line_and_nothing_is_loaded(
    model: Any, monkeypatch: pytest.MonkeyPatch, args: dict[str, Any], said: str
) -> None:
    monkeypatch.setattr(model, "load", lambda *_, **__: pytest.fail("loaded"))
    with pytest.raises(RushesError, match=said) as caught:
        rushes_model(model, [], **args)
    assert "\n" not in str(caught.value)


def test_every_process_takes_its_own_device(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [model.own_device(name) for name in ("cuda", "cuda:1", "cpu")] == ["cuda:3", "cuda:1", "cpu"]


def test_what_it_does_not_do_it_says(model: Any, pair: FakePair) -> None:
    lm = rushes_model(model, [])
    with pytest.raises(NotImplementedError, match="does not score given ones"):
        lm.loglikelihood([])
    with pytest.raises(NotImplementedError, match="without earlier turns"):
        lm.generate_until_multi_round([])


def test_the_bundled_pair_answers_as_it_does_elsewhere(model: Any, video: Path) -> None:
    lm = rushes_model(model, [str(video), ""], target="demo", draft=None, device="cpu", max_new_tokens=8)
    questions = ["Describe the video in detail.", "What moves?"]
    asked = [request(i, questions[i], {"until": ["\n\n"]}, lambda doc: [doc] if doc else []) for i in (1, 0)]
    made = [answer.text for answer in lm.generate_until(asked)]
    alone = bundled.pair()
    told = [alone.generate(v, q, max_new_tokens=8) for v, q in ((None, questions[1]), (video, questions[0]))]
    assert made == [result.text for result in told]
    assert len(told[1].token_ids) == 8
    assert lm.device.type == "cpu"
    lm.clean()
