"""The training recipe: its forward is the stock forward, its batches are the processor's, a stop loses nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rushes.demo.build import DRAFT, make_config, make_model, make_processor, make_tokenizer
from rushes.demo.data import IGNORE, PATCH, Batch, BatchMaker, Recipe, make_patches
from rushes.demo.forward import text_states, use_training_attention, vision_features
from rushes.demo.hiding import hide
from rushes.demo.train import Stage, run_stage
from rushes.demo.trainer import Trainer


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer(samples=200)


@pytest.fixture(scope="module")
def batches(tokenizer: Any) -> list[Batch]:
    maker = BatchMaker(tokenizer, seed=0)
    return [maker(i, Recipe(max_scenes=2, tokens=600, reference_positions=0.0)) for i in range(6)]


def test_the_batched_vision_forward_is_the_stock_one(tokenizer: Any, batches: list[Batch]) -> None:
    model = make_model(make_config(DRAFT, tokenizer), tokenizer, seed=0).eval()
    assert len({b.grid for b in batches}) > 2
    with torch.no_grad():
        for batch in batches:
            grid = torch.tensor([[len(batch.patches), *batch.grid]])
            stock = model.model.visual(batch.patches.flatten(0, 1), grid_thw=grid).pooler_output
            torch.testing.assert_close(vision_features(model, batch.patches, batch.grid), stock, atol=1e-5, rtol=1e-4)


def test_the_batched_text_forward_and_its_positions_are_the_stock_ones(tokenizer: Any, batches: list[Batch]) -> None:
    """Row by row without padding; positions up to the first answer are what get_rope_index gives."""
    model = make_model(make_config(DRAFT, tokenizer), tokenizer, seed=0).eval()
    batch = batches[0]
    features = torch.randn(int(batch.video_rows.max()) + 1, DRAFT.hidden)
    expected = []
    for row in range(len(batch.input_ids)):
        embeds = model.model.language_model.embed_tokens(batch.input_ids[row]).detach()
        mine = batch.video_slots[:, 0] == row
        embeds[batch.video_slots[mine, 1]] = features[batch.video_rows[mine]]
        out = model.model.language_model(inputs_embeds=embeds[None], position_ids=batch.positions[:, row : row + 1])
        expected.append(out.last_hidden_state[0].detach())
    use_training_attention(model)
    with torch.no_grad():
        states, _ = text_states(model, batch, features)
    for row, wanted in enumerate(expected):
        used = int((batch.labels[row] != IGNORE).nonzero().max()) + 1
        torch.testing.assert_close(states[row, :used], wanted[:used], atol=1e-4, rtol=1e-3)


def test_positions_are_those_of_generate(tokenizer: Any, batches: list[Batch]) -> None:
    model = make_model(make_config(DRAFT, tokenizer), tokenizer, seed=0)
    video = tokenizer.convert_tokens_to_ids("<|video_pad|>")
    checked = 0
    for batch in batches:
        height, width = batch.grid
        for row in range(len(batch.input_ids)):
            first_answer = int((batch.labels[row] != IGNORE).nonzero()[0])
            prompt = batch.input_ids[row : row + 1, :first_answer]
            positions = batch.positions[:, row]
            pairs = int((prompt == video).sum()) // (height * width // 4)
            steps = positions[0, :first_answer][prompt[0] == video].unique()
            if len(steps) != pairs or len(set(steps.diff().tolist())) != 1:
                continue  # a rate that is no whole number of positions a step
            checked += 1
            stock, _ = model.model.get_rope_index(
                prompt,
                mm_token_type_ids=(prompt == video).int() * 2,
                video_grid_thw=torch.tensor([[pairs, height, width]]),
                second_per_grid_ts=[float(steps[1] - steps[0]) / 2],
            )
            assert torch.equal(positions[:, :first_answer], stock[:, 0])
            assert int(positions[0, first_answer]) == int(stock[0, 0, -1]) + 1  # as generate counts on
    assert checked >= 3


def test_patches_are_the_processors(tokenizer: Any) -> None:
    processor = make_processor(tokenizer).video_processor
    frames = torch.randint(0, 256, (4, 84, 112, 3), dtype=torch.uint8).numpy()
    wanted = processor(videos=[frames], return_tensors="pt")
    assert wanted["video_grid_thw"].tolist() == [[2, 84 // PATCH, 112 // PATCH]]
    made = torch.from_numpy(make_patches(frames)).flatten(0, 1)
    torch.testing.assert_close(made, wanted["pixel_values_videos"], atol=1e-5, rtol=1e-5)


def test_hiding_tokens_changes_only_what_is_seen(tokenizer: Any) -> None:
    maker = BatchMaker(tokenizer, seed=0)
    fewer = 0
    for i in range(8):
        full = maker(i, Recipe(max_scenes=3, tokens=800))
        hidden = hide(full, np.random.default_rng(i), maker.pad)
        fewer += len(hidden.video_rows) < len(full.video_rows)
        assert set(hidden.video_rows.tolist()) <= set(full.video_rows.tolist())
        for row in range(len(full.input_ids)):
            sides = []
            for batch in (full, hidden):
                slots = batch.video_slots[batch.video_slots[:, 0] == row, 1]
                shown = batch.video_rows[batch.video_slots[:, 0] == row]
                used = int((batch.labels[row] != IGNORE).nonzero().max()) + 1
                text = torch.ones(used, dtype=torch.bool)
                text[slots] = False
                columns = [batch.input_ids, batch.labels, batch.scene_of, *batch.positions]
                words = torch.stack([column[row, :used] for column in columns])
                sides.append((words[:, text], dict(zip(shown.tolist(), words[:, slots].T.tolist(), strict=True))))
            (text, video), (kept_text, kept_video) = sides
            assert torch.equal(text, kept_text)
            assert all(video[token] == column for token, column in kept_video.items())
    assert fewer >= 5


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    def trainer(name: str) -> Trainer:
        torch.manual_seed(0)
        return Trainer("draft", tmp_path / name, steps=4, lr=1e-3, seed=5, teacher=None)

    whole_run, first = trainer("whole"), trainer("parts")
    for _ in range(4):
        whole_run.step()
    for _ in range(2):
        first.step()
    first.save()
    second = trainer("parts")
    second.resume(tmp_path / "parts" / "checkpoint.pt")
    assert second.done == 2
    second.step()
    second.step()
    for name, weight in whole_run.model.state_dict().items():
        assert torch.equal(weight, second.model.state_dict()[name]), name
    second.export()
    assert (tmp_path / "parts" / "export" / "model.safetensors").is_file()


def test_the_stages_follow_each_other_and_a_finished_one_is_not_run_again(tmp_path: Path) -> None:
    stages = [
        Stage("target", "draft", 2, 1e-3),
        Stage("draft", "draft", 2, 1e-3),
        Stage("taught", "draft", 2, 1e-3, True),
    ]
    for stage in stages:
        run_stage(stage, tmp_path, 2, seed=3)
    weights = [(tmp_path / stage.name / "export" / "model.safetensors").read_bytes() for stage in stages]
    assert weights[1] != weights[2], "the taught draft has learnt something more"
    run_stage(stages[2], tmp_path, 2, seed=3)
    assert (tmp_path / "taught" / "export" / "model.safetensors").read_bytes() == weights[2]
