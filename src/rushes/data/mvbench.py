"""MVBench: 20 tasks of 200 multiple-choice questions about short videos.

Layout of OpenGVLab/MVBench: `json/<task>.json`, each an array of {"video", "question", "candidates", "answer"}, where
`answer` is the text of a candidate, and "start" and "end" (seconds) besides in the tasks that cut their videos;
`video/*.zip`, which unpack to one folder per source in `video/`. Names of tasks, folders and fields and which tasks are
cut were checked against VLMEvalKit's `vlmeval/dataset/mvbench.py`, which follows the authors' script; the folders with
clips that are cut already, on the hub's revision `video`, against lmms-eval's `tasks/mvbench/utils.py`. Both know
`data0613`, a zip with more of `star` and `clevrer`. The hub does not hold the videos of `fine_grained_pose` (NTU RGB+D
has a licence of its own), and has Episodic Reasoning as folders of pictures but on the revision `video`: such samples
are skipped. A clip is named after its stretch (`USNP1_1.3_15.4.mp4`, seen in a published result file), so it cannot be
taken for the whole video. lmms-eval has the folders of the revision `video` beside `json/`, without `video/` around
them: both places are looked into; whether that revision has `json/` was not checked.
"""

from collections.abc import Iterator
from pathlib import Path

from rushes.data.choices import choice_by_text
from rushes.data.folders import Hub, video_or_skip
from rushes.data.rows import json_rows
from rushes.data.sample import Missing, Sample, Skipped, ignore

HUB = Hub("OpenGVLab/MVBench", "json/*.json", "video/ (with the zips in it unpacked)")

# Of videos that are whole, though the question is about a stretch of them.
_WHOLE = {"star/Charades_v1_480", "sta/sta_video", "tvqa/frames_fps3_hq"}
_MORE = ("", "data0613")
_CLEVRER = ("clevrer/video_validation",)
_PERCEPTION = ("perception/videos",)
_STAR = ("star/Charades_segment", "star/Charades_v1_480")

# Task to the folders of its videos below video/, clips before whole videos.
TASKS: dict[str, tuple[str, ...]] = {
    "action_sequence": _STAR,
    "action_prediction": _STAR,
    "action_antonym": ("ssv2_video", "ssv2_video_mp4"),
    "fine_grained_action": ("Moments_in_Time_Raw/videos",),
    "unexpected_action": ("FunQA_test/test",),
    "object_existence": _CLEVRER,
    "object_interaction": _STAR,
    "object_shuffle": _PERCEPTION,
    "moving_direction": _CLEVRER,
    "action_localization": ("sta/sta_video_segment", "sta/sta_video"),
    "scene_transition": ("scene_qa/video",),
    "action_count": _PERCEPTION,
    "moving_count": _CLEVRER,
    "moving_attribute": _CLEVRER,
    "state_change": _PERCEPTION,
    "fine_grained_pose": ("nturgbd", "nturgbd_convert"),
    "character_order": _PERCEPTION,
    "egocentric_navigation": ("vlnqa",),
    "episodic_reasoning": ("tvqa/video_fps3_hq_segment", "tvqa/frames_fps3_hq"),
    "counterfactual_inference": _CLEVRER,
}


def read(folder: Path, missing: Missing = ignore) -> Iterator[Sample]:
    """Samples of kind "choice", with ids "task/number", task by task; a task without its file is told to `missing`.

    The prompt is the authors' ("Question: ...", "Options:") with options as "A. ..." in place of "(A) ...", and
    lmms-eval's last line, since the authors' own ("Only give the best option.") needs a begun answer ("Best option:(").

    Raises:
        RushesError: a folder, file or field that is wanted is not there.
    """
    root = HUB.root(folder)
    HUB.annotation_files(root, "json/*.json")
    bare = not (root / "video").is_dir() and any((root / name).is_dir() for names in TASKS.values() for name in names)
    videos = root if bare else HUB.video_folders(root, "video")[0]
    return _samples(root / "json", videos, missing)


def _samples(annotations: Path, videos: Path, missing: Missing) -> Iterator[Sample]:
    for task, names in TASKS.items():
        file = annotations / f"{task}.json"
        if not file.is_file():
            missing(Skipped(task, f"no file {str(file)!r}"))
            continue
        whole = [videos / more / name for name in names if name in _WHOLE for more in _MORE]
        folders = [videos / more / name for name in names for more in _MORE]
        there = [path for path in folders if path.is_dir()] or folders[:1]
        for number, row in enumerate(json_rows(file), 1):
            sample = f"{task}/{number}"
            if video := video_or_skip(there, row.text("video"), sample, missing):
                # A name may hold folders itself, so the file's own parent does not tell.
                cut = row.has("start") and any(video.is_relative_to(path) for path in whole)
                seconds = (row.number("start"), row.number("end")) if cut else None
                if made := choice_by_text(sample, video, row, missing, seconds):
                    yield made
