"""Presets name methods that exist, with the baselines first."""

import pytest

from rushes import RushesError
from rushes.bench.presets import PRESETS, preset, trials
from rushes.methods import METHODS, method


@pytest.mark.parametrize("name", PRESETS)
def test_every_trial_of_a_preset_is_a_method(name: str) -> None:
    made = preset(name)
    assert [trial.name for trial in made[:4]] == ["ar", "transformers", "assisted", "sd"]
    assert len({trial.name for trial in made}) == len(made)
    assert name in {trial.name for trial in made if not trial.group}
    for trial in made:
        if trial.ours:
            method(trial.method, trial.gamma)
    for group in {trial.group for trial in made} - {""}:
        assert sum(trial.group == group for trial in made) > 1, "an ablation has something beside it"


def test_methods_by_name() -> None:
    made = trials(["transformers", "specvlm", "ar", "specvlm"], 0.2)
    assert [trial.name for trial in made] == ["ar", "transformers", "specvlm"]
    assert {trial.keep for trial in made} == {0.2}
    assert [trial.name for trial in trials(METHODS, 0.1)] == list(METHODS)
    with pytest.raises(RushesError, match="did you mean 'specvlm'"):
        trials(["specvml"], 0.1)
    with pytest.raises(RushesError, match="unknown preset 'hipo'; did you mean 'hippo'"):
        preset("hipo")
