"""How the target reads its prompt: who looks on, and what of it was read before."""

from torch import Tensor

from rushes.cache import KVCache
from rushes.methods import Method
from rushes.models.base import Prompt, VideoLM
from rushes.models.head import Head, Shown
from rushes.models.watching import Watch
from rushes.recall import Recall
from rushes.recording import EARLY, Recording

WATCHED = "watched"  # whose states these are, for a later request about the same video


def watch_of(target: VideoLM, method: Method, video_tokens: int) -> Watch | None:
    """Where the verifier reads states of the target; nowhere without a video."""
    depth = target.text_config.num_hidden_layers
    layer = method.verifier.watches(depth)
    return None if layer is None or not video_tokens else Watch(layer, depth)


def begin(
    recall: Recall, prompt: Prompt, cache: KVCache, recording: Recording | None, watch: Watch | None, rule: str
) -> Head:
    """Begin the target's cache with what was read before, as long as all that is looked at is still read."""
    needs: set[Shown] = set()
    if recording is not None and recording.early_layer > 0:
        needs.add((EARLY, recording.early_layer))
    if watch is not None:
        needs.add((WATCHED, watch.layer))
    rows = 1 if recording is None else max(1, prompt.question_rows)
    head = recall.target_head(rule, prompt, len(prompt) - rows, frozenset(needs))
    if head.cache is not None:
        cache.begin_with(head.cache, head.length)
    if recording is not None:
        recording.head = head
    return head


def video_states(watch: Watch | None, prompt: Prompt, head: Head) -> Tensor | None:
    """(m, H) states of the video tokens in the prefill that has just run."""
    if watch is None or watch.states is None:
        return None
    return head.join((WATCHED, watch.layer), watch.states, prompt.video_columns)
