"""Every published layout becomes the samples it should, field by field; what is missing from a copy is listed."""

from pathlib import Path

import numpy as np
import published
import pytest

from rushes.data import Sample, Skipped, open_data, score
from rushes.video import read_video, write_video

DIRECTLY = "Answer with the option's letter from the given choices directly."


def read(name: str, root: Path) -> tuple[list[Sample], list[Skipped]]:
    data = open_data(f"{name}={root}")
    return list(data), data.skipped


def test_video_detail_caption(tmp_path: Path) -> None:
    samples, skipped = read("VideoDetailCaption", published.video_detail_caption(tmp_path))
    ask = "Describe the video in detail."
    assert samples == [
        Sample("1/v_dog", tmp_path / "Test_Videos/v_dog.mp4", ask, "A dog runs.", "description"),
        Sample("2/v_cat", tmp_path / "Test_Videos/v_cat.mkv", ask, "A cat runs.", "description"),
    ]
    assert skipped == [Skipped("3/v_cow", f"no video 'v_cow' in '{tmp_path}/Test_Videos'")]


def test_mvbench(tmp_path: Path) -> None:
    samples, skipped = read("MVBench", published.mvbench(tmp_path))
    video = tmp_path / "video"
    first = f"Question: What came first?\nOptions:\nA. The lid.\nB. The box.\n{DIRECTLY}"
    count = f"Question: How many?\nOptions:\nA. 3\nB. 2\nC. 1\n{DIRECTLY}"
    clevrer, more = "clevrer/video_validation/video_10009.mp4", "data0613/clevrer/video_validation/video_10010.mp4"
    charades = video / "star/Charades_v1_480/ZS9XR.mp4"
    assert samples == [
        Sample("action_sequence/1", charades, first, "B", "choice", ("A", "B"), (1.5, 9)),
        Sample("moving_count/1", video / clevrer, count, "A", "choice", ("A", "B", "C")),
        Sample("moving_count/2", video / more, count, "A", "choice", ("A", "B", "C")),
    ]
    reasons = {item.id: item.reason for item in skipped}
    assert len(reasons) == 17 + 2  # tasks without a file, and the two samples
    assert reasons["fine_grained_pose"] == f"no file '{tmp_path}/json/fine_grained_pose.json'"
    assert reasons["episodic_reasoning/1"] == "'s01' is a folder of pictures; a video file is wanted"
    assert reasons["moving_count/3"].startswith(f"no video 'gone.mp4' in '{video}/clevrer/video_validation' or ")


@pytest.mark.parametrize("outer", ["video", ""])
def test_clips_that_are_cut_already_need_no_seconds(tmp_path: Path, outer: str) -> None:
    row = {"video": "ZS9XR_1.5_9.0.mp4", "question": "?", "candidates": ["a", "b"], "answer": "a", "start": 1, "end": 9}
    published.write_json(tmp_path / "json/object_interaction.json", [row])
    clip = published.touch(tmp_path / outer / "star/Charades_segment/ZS9XR_1.5_9.0.mp4")
    (sample,), _ = read("MVBench", tmp_path)
    assert (sample.video, sample.seconds) == (clip, None)


@pytest.mark.parametrize("inner", ["", "MLVU"])
def test_mlvu(tmp_path: Path, inner: str) -> None:
    samples, skipped = read("MLVU", published.mlvu(tmp_path) / inner)
    video = tmp_path / "MLVU/video"
    where = f"Question: Where is it?\nOptions:\nA. Here\nB. There\n{DIRECTLY}"
    count = f"Question: Where is it?\nOptions:\nA. 1\nB. 2\nC. 3\n{DIRECTLY}"
    assert samples == [
        Sample("1_plotQA/1", video / "1_plotQA/1.mp4", where, "B", "choice", ("A", "B")),
        Sample("4_count/1", video / "count/1.mp4", count, "C", "choice", ("A", "B", "C")),
        Sample("9_summary/1", video / "9_summary/1.mp4", "Summarize.", "Much happens.", "description"),
    ]
    assert Skipped("4_count/2", "its answer '7' is none of its candidates") in skipped
    assert [item.id for item in skipped if "/" not in item.id] == [
        "2_needle",
        "3_ego",
        "5_order",
        "6_anomaly_reco",
        "7_topic_reasoning",
        "8_sub_scene",
    ]


def test_long_video_bench_json(tmp_path: Path) -> None:
    samples, skipped = read("LongVideoBench", published.long_video_bench(tmp_path))
    video = tmp_path / "videos/86CxyhFV9MI.mp4"
    first = f"Question: What follows?\nA. Rain\nB. Sun\nC. Snow\n{DIRECTLY}"
    second = f"Question: What follows?\nA. Yes\nB. No\n{DIRECTLY}"
    assert samples == [
        Sample("86CxyhFV9MI_0", video, first, "B", "choice", ("A", "B", "C")),
        Sample("86CxyhFV9MI_1", video, second, "A", "choice", ("A", "B")),
    ]
    assert skipped == []


def test_long_video_bench_parquet(tmp_path: Path) -> None:
    samples, _ = read("LongVideoBench", published.long_video_bench_parquet(tmp_path))
    video, prompt = (
        tmp_path / "videos/86CxyhFV9MI.mp4",
        f"Question: What follows?\nA. Rain\nB. Sun\nC. Snow\n{DIRECTLY}",
    )
    assert samples == [
        Sample("86CxyhFV9MI_0", video, prompt, "C", "choice", ("A", "B", "C")),
        Sample("86CxyhFV9MI_1", video, prompt, None, "choice", ("A", "B", "C")),
    ]


def test_the_test_set_of_long_video_bench_has_no_answers(tmp_path: Path) -> None:
    row = published.LVB | {"id": "t0", "candidates": ["Yes", "No"]}
    published.write_json(tmp_path / "lvb_test_wo_gt.json", [row])
    published.touch(tmp_path / "videos/86CxyhFV9MI.mp4")
    (sample,), _ = read("LongVideoBench", tmp_path)
    assert sample.answer is None
    assert score(sample, "A") is None


@pytest.mark.parametrize("folder", ["data", "video"])
def test_video_mme(tmp_path: Path, folder: str) -> None:
    samples, skipped = read("Video-MME", published.video_mme(tmp_path, folder))
    video = tmp_path / folder / "fFjv93ACGo8.mp4"
    head = (
        "Select the best answer to the following multiple-choice question based on the video. Respond with only the "
        "letter (A or B) of the correct option.\nWhich colour?\n"
    )
    assert samples[:2] == [
        Sample("001-1", video, f"{head}A. Red.\nB. Blue.\nThe best answer is:", "B", "choice", ("A", "B")),
        Sample("001-2", video, f"{head}A. C major.\nB. A.\nThe best answer is:", "A", "choice", ("A", "B")),
    ]
    assert [item.id for item in skipped] == ["002-1"]


def test_the_letters_are_named_as_many_as_there_are(tmp_path: Path) -> None:
    *_, sample = open_data(f"Video-MME={published.video_mme(tmp_path)}")
    assert "with only the letter (A, B, C, or D) of the correct option.\nWhich colour?\nA. w\nB. x\n" in sample.prompt
    assert (sample.answer, sample.letters) == ("D", ("A", "B", "C", "D"))


@pytest.mark.parametrize("videos", ["videos", "all_videos"])
def test_lvbench_lines(tmp_path: Path, videos: str) -> None:
    samples, skipped = read("LVBench", published.lvbench(tmp_path, videos))
    video = tmp_path / videos / "Cm73ma6Ibcs.mp4"
    last, letters = "Answer the question with the option letter.", ("A", "B", "C", "D")
    prompt = f"What year is it?\nA. 1636\nB. 1366\nC. 1363\nD. 1633\n{last}"
    assert samples == [
        Sample("0", video, prompt, "D", "choice", letters),
        Sample("4", video, f"Is it (A) or (B)?\n{last}", "C", "choice", letters),
    ]
    assert [item.id for item in skipped] == ["9"]


def test_lvbench_parquet(tmp_path: Path) -> None:
    samples, _ = read("LVBench", published.lvbench_parquet(tmp_path))
    assert [(sample.id, sample.video.name, sample.answer) for sample in samples] == [
        ("0", "Cm73ma6Ibcs.mp4", "D"),
        ("1", "Cm73ma6Ibcs.mp4", "D"),
    ]


@pytest.mark.parametrize("name", list(published.MAKERS))
def test_samples_are_unique_the_same_on_every_pass_and_score_their_own_answers(tmp_path: Path, name: str) -> None:
    data = open_data(f"{name.lower().replace('-', '')}={published.MAKERS[name](tmp_path)}")
    first, skipped = list(data), data.skipped
    assert data.name == name
    assert (list(data), data.skipped) == (first, skipped)
    assert len({sample.id for sample in first}) == len(first)
    for sample in first:
        assert sample.video.is_file()
        assert score(sample, str(sample.answer)) == (1.0 if sample.kind == "choice" else None)


def test_a_sample_can_be_decoded(tmp_path: Path) -> None:
    root = published.video_detail_caption(tmp_path)
    write_video(root / "Test_Videos/v_dog.mp4", np.zeros((4, 32, 32, 3), np.uint8), 2)
    assert read_video(next(iter(open_data(f"VideoDetailCaption={root}"))).video).frames.shape == (4, 32, 32, 3)
