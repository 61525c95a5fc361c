"""The plug-in's settings, its store of features and its metrics, where no vLLM is installed."""

import os

import pytest
import torch

from rushes.errors import RushesError
from rushes.integrations.vllm import metrics
from rushes.integrations.vllm.features import FeatureStore
from rushes.integrations.vllm.settings import Settings, read_settings
from rushes.models.base import Features
from rushes.pruning.controls import Uniform
from rushes.pruning.hippo import Hippo, LocalHippo
from rushes.pruning.specvlm import SpecVLM


def given(**settings):
    return read_settings({"rushes": {"draft": "a-draft", **settings}})


def test_hippo_looks_at_the_target_only_where_it_is_shown():
    assert type(given().make_scorer()) is LocalHippo
    assert type(given(guidance="draft").make_scorer()) is Hippo
    assert type(given(scorer="uniform").make_scorer()) is Uniform
    assert given(scorer="hippo:crop=2").make_scorer().crop == 2
    assert type(given(scorer="specvlm:attention_share=0.4", guidance="draft").make_scorer()) is SpecVLM


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"keep": 2}, "keep must be between 0"),
        ({"keep": float("nan")}, "keep must be between 0"),
        ({"scorer": "attention"}, "reads the target's attention"),
        ({"scorer": "hippo:crop=0"}, "crop must be 1"),
        ({"scorer": "uniform:crop=0"}, "no parameters"),
        ({"draft": ""}, "draft must be a word"),
        ({"draft": 3}, "draft must be a word"),
        ({"guidance_layers": 0}, "guidance_layers must be a whole number"),
        ({"draft_memory_gib": float("inf")}, "draft_memory_gib must be a number above 0"),
        ({"scorers": "hippo"}, "unknown setting of rushes 'scorers'; did you mean 'scorer'"),
    ],
)
def test_bad_settings_are_one_line(settings, line):
    with pytest.raises(RushesError, match=line) as caught:
        given(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("config", [None, {}, {"rushes": None}, {"rushes": "draft"}, "rushes"])
def test_no_settings(config):
    with pytest.raises(RushesError, match="no settings"):
        read_settings(config)


def features(rows: int) -> Features:
    return Features(video=torch.zeros(rows, 4))


def test_features_are_made_once_and_the_least_recently_used_go_first():
    store = FeatureStore(budget=2 * 10 * 4 * 4)
    made = []

    def of(name, rows=10):
        return store.get(name, lambda: made.append(name) or features(rows))

    for name in ("a", "b", "a", "c", "a", "b"):
        of(name)
        assert store.bytes <= store.budget
    assert made == ["a", "b", "c", "b"]
    assert (store.runs, store.reused) == (4, 2)
    of("too large", 100)
    of("too large", 100)
    assert made[-2:] == ["too large", "too large"]
    store.clear()
    assert store.bytes == 0


def test_a_view_counts_what_it_keeps_alive():
    store = FeatureStore(budget=1000)
    store.get("a", lambda: Features(video=torch.zeros(1000, 4)[:2]))
    assert store.bytes == 0


def test_boards_of_several_processes_add_up_and_disappear(tmp_path, monkeypatch):
    monkeypatch.setenv(metrics.FOLDER, str(tmp_path / "boards"))
    one, other = metrics.Board(), metrics.Board()
    one.add("draft_seconds", 0.5)
    one.add("draft_seconds", 0.25)
    other.add("draft_seconds", 1.0)
    other.set("live_drafts", 3)
    one.add("skipped memory")
    found = metrics.read()
    assert (found["draft_seconds"], found["live_drafts"], found["skipped memory"]) == (1.75, 3, 1)
    one.close()
    one.close()
    one.add("draft_seconds", 1)  # a drafter that stops in the middle of a step
    assert metrics.read()["draft_seconds"] == 1.0
    del other
    assert not (tmp_path / "boards").exists()


def test_the_first_process_names_the_folder_for_all(monkeypatch):
    monkeypatch.delenv(metrics.FOLDER, raising=False)
    metrics.name_folder()
    named = os.environ[metrics.FOLDER]
    metrics.name_folder()
    assert os.environ[metrics.FOLDER] == named
    assert not os.path.exists(named)
    monkeypatch.delenv(metrics.FOLDER)
    assert metrics.read()["draft_seconds"] == 0


def test_a_setting_has_a_docstring():
    for name in Settings.__dataclass_fields__:
        assert f"{name}:" in str(Settings.__doc__)
