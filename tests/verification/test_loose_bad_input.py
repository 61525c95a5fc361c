"""Loose verification refuses what cannot work in one line, and says once that an answer may differ."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from rushes import Pair, RushesError
from rushes.decoding import decode
from rushes.methods import VERIFIERS
from rushes.methods import method as recipe_of
from rushes.settings import Settings
from test_cli_bad_input import no_models, refused
from tiny import noisy, tiny_qwen2_5_vl, tiny_text_inputs, tiny_video_inputs

Run = Callable[..., Any]
__all__ = ["no_models"]  # a fixture

REFUSED = [
    ("lvspec:lambda=-0.1", "lambda is a share of the candidates, 0 to 1, got -0.1"),
    ("lvspec:lambda=1.1", "0 to 1, got 1.1"),
    ("lvspec:lambda=nan", "0 to 1, got nan"),
    ("lvspec:lambda=inf", "0 to 1, got inf"),
    ("lvspec:lambda=most", "lvspec:lambda must be a number, got 'most'"),
    ("lvspec:n=0", "n must be 1 or more, got 0"),
    ("lvspec:n=-1", "n must be 1 or more, got -1"),
    ("lvspec:n=1.5", "lvspec:n must be a whole number, got '1.5'"),
    ("lvspec:w=-1", "w must be 0 or more, got -1"),
    ("lvspec:at=behind", "at must be 'token' or 'before', got 'behind'"),
    ("lvspec:reference=round", "reference must be 'window' or 'answer', got 'round'"),
    ("lvspec:guards=digit", "unknown guard 'digit'; did you mean 'digits'?"),
    ("lvspec:guards=eos/zzz", "unknown guard 'zzz'; known: eos, digits"),
    ("lvspec:lamda=0.5", "unknown parameter"),
    ("random:lambda=2", "0 to 1, got 2.0"),
    ("random:lambda=nan", "0 to 1, got nan"),
    ("random:w=-1", "w must be 0 or more, got -1"),
    ("random:n=3", "unknown parameter of verifier 'random' 'n'"),
    ("fly:nats=-0.1", "nats must be 0 or more, got -0.1"),
    ("fly:nats=nan", "nats must be 0 or more, got nan"),
    ("fly:ahead=-1", "ahead must be 0 or more, got -1"),
    ("fly:strict=-1", "strict must be 0 or more, got -1"),
    ("fly:guards=no", "unknown guard 'no'"),
]
LOOSE = [name for name, verifier in VERIFIERS.items() if not verifier.lossless]
MODELS_DO_NOT_MATTER = [
    *[(f"uniform+chain+{verifier}+sequential", words) for verifier, words in REFUSED],
    *[
        (f"uniform+{drafter}+{name}+sequential", f"verifier '{name}' judges a chain, not the branches of '{drafter}'")
        for name in LOOSE
        for drafter in ("tree", "sage")
    ],
    ("lvspec:at=behind", "at must be 'token' or 'before'"),  # short names as well
    ("rush:lambda=2", "0 to 1, got 2.0"),
]


@cache
def pair() -> Pair:
    target = tiny_qwen2_5_vl()
    return Pair(target, noisy(target, 0.05))


@pytest.mark.parametrize(("method", "words"), MODELS_DO_NOT_MATTER, ids=[made for made, _ in MODELS_DO_NOT_MATTER])
def test_refused_before_there_are_models(method: str, words: str) -> None:
    with pytest.raises(RushesError) as refusal:
        Settings(method=method)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.usefixtures("no_models")
@pytest.mark.parametrize(("method", "words"), MODELS_DO_NOT_MATTER, ids=[made for made, _ in MODELS_DO_NOT_MATTER])
def test_refused_by_the_command_line(rushes: Run, video: Path, method: str, words: str) -> None:
    refused(rushes("generate", video, "--method", method), words)


@pytest.mark.parametrize("name", LOOSE)
def test_sampling_is_refused_with_the_reason(name: str) -> None:
    for temperature in (0.01, 1.0):
        with pytest.raises(RushesError, match=r"compares words with the target's greedy choice.*verifier sampling"):
            Settings(method=f"uniform+chain+{name}+sequential", temperature=temperature)


@pytest.mark.usefixtures("no_models")
@pytest.mark.parametrize("method", ["lvspec", "rush"])
def test_sampling_is_refused_by_the_command_line(rushes: Run, video: Path, method: str) -> None:
    done = rushes("generate", video, "--method", method, "--temperature", 0.7)
    refused(done, f"method '{method}'", "leave the temperature at 0")


LAYERS = [(0, "layer 0 does not exist: the target has 1 to 2, or -2 to -1"), (99, "layer 99 does"), (-99, "layer -99")]


@pytest.mark.parametrize(("layer", "words"), [*LAYERS, (3, "layer 3 does"), (-3, "layer -3 does")])
def test_layers_that_the_target_does_not_have(layer: int, words: str) -> None:
    for inputs in (tiny_video_inputs(pair().target.model), tiny_text_inputs(pair().target.model)):
        with pytest.raises(RushesError, match=words):
            pair().generate_inputs(inputs, method=f"lvspec:guards=eos:layer={layer}")


def test_more_video_tokens_than_there_are() -> None:
    inputs = tiny_video_inputs(pair().target.model)  # 18 video tokens
    with pytest.raises(RushesError, match="n is 19, but the prompt has only 18 video tokens"):
        pair().generate_inputs(inputs, method="lvspec:guards=eos:n=19")
    assert not pair().generate_inputs(inputs, method="lvspec:guards=eos:n=18", max_new_tokens=4).lossless


def test_nothing_is_run_before_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = pair()
    monkeypatch.setattr(made.target, "encode", lambda *_: pytest.fail("the video was looked at"))
    for parameters in ("n=19", "layer=99"):
        for schedule in ("sequential", "pipelined"):
            with pytest.raises(RushesError):
                made.generate_inputs(
                    tiny_video_inputs(made.target.model),
                    method=f"uniform+chain+lvspec:guards=eos:{parameters}+{schedule}",
                )


@pytest.mark.parametrize("method", ["lvspec", "rush", "uniform+chain+fly+sequential", "uniform+chain+random+pipelined"])
def test_words_cannot_be_guarded_without_a_tokenizer(method: str) -> None:
    with pytest.raises(RushesError, match="reads words, and this pair has no tokenizer"):
        pair().generate_inputs(tiny_video_inputs(pair().target.model), method=method)


def test_no_video_falls_back_to_exact() -> None:
    inputs = tiny_text_inputs(pair().target.model)
    plain = pair().generate_inputs(inputs, method="ar", max_new_tokens=12)
    made = pair().generate_inputs(inputs, method="lvspec:guards=eos:lambda=1", max_new_tokens=12)
    assert made.token_ids == plain.token_ids
    assert made.lossless
    assert made.to_json()["lossless"] is True
    assert made.to_json()["notes"] == [
        "lvspec: no video in the prompt to be strict about; verified exactly, and lossless"
    ]


def test_a_check_says_where_a_loose_answer_differs() -> None:
    inputs = tiny_video_inputs(pair().target.model)
    made = pair().generate_inputs(inputs, method="lvspec:guards=none:lambda=1", max_new_tokens=12, check=True)
    plain = pair().generate_inputs(inputs, method="ar", max_new_tokens=12)
    assert made.check is not None
    assert not made.check.identical
    at = made.check.first_divergence
    assert at is not None
    assert made.token_ids[:at] == plain.token_ids[:at]
    assert made.token_ids[at] != plain.token_ids[at]
    assert made.words[at].mark.how == "relaxed"
    assert made.words[at].mark.other == plain.token_ids[at]


def test_the_library_is_told_while_it_streams() -> None:
    from rushes.stats import Stats

    settings = Settings(method="lvspec:guards=none", max_new_tokens=6)
    inputs = tiny_video_inputs(pair().target.model)
    steps = decode(pair().target, pair().draft, inputs, recipe_of(settings.method), settings.options(), Stats())
    for step in steps:
        assert not step.lossless
        assert len(step.notes) == 1


class TestWithTheBundledPair:
    def test_the_note_is_printed_once(self, rushes: Run, video: Path) -> None:
        done = rushes("generate", video, "--method", "lvspec", "--max-new-tokens", 8)
        assert done.code == 0
        assert done.err.count("may differ") == 1
        assert "note: verified loosely: the answer may differ from the target's own (lossless: false)\n" in done.err
        assert "may differ" not in done.out

    def test_json_says_that_it_is_not_lossless(self, rushes: Run, video: Path) -> None:
        done = rushes("generate", video, "--method", "lvspec", "--max-new-tokens", 8, "--json")
        assert done.code == 0
        made = json.loads(done.out)
        assert made["lossless"] is False
        assert sum("may differ" in note for note in made["notes"]) == 1
        assert [token["id"] for token in made["tokens"]] == made["token_ids"]
        assert "".join(token["text"] for token in made["tokens"]) == made["text"]

    @pytest.mark.parametrize(
        ("parameters", "words"),
        [
            ("layer=0", "layer 0 does not exist"),
            ("layer=99", "layer 99"),
            ("layer=-99", "layer -99"),
            ("n=99999", "n is"),
        ],
    )
    def test_what_only_the_models_can_tell(self, rushes: Run, video: Path, parameters: str, words: str) -> None:
        refused(rushes("generate", video, "--method", f"lvspec:{parameters}"), words)
