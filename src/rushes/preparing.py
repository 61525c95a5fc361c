"""What a draft does before its first window: it looks at the video, and reads all text and the kept video tokens."""

from dataclasses import dataclass, field, replace

from torch import Tensor

from rushes.drafting.state import DraftState
from rushes.models.base import Features, Inputs, VideoLM
from rushes.models.head import NOTHING
from rushes.recall import Recall
from rushes.sampling import RepetitionPenalty, Sampling
from rushes.stats import Stats
from rushes.timeline import DRAFT


@dataclass(slots=True)
class Preparation:
    """The draft's own prefill, in two steps that may run on another thread than the target's.

    Args:
        draft: The model.
        inputs: What the processor returned.
        positions, repack: As in `Options`.
        room: Slots behind the prompt that its cache needs.
        sampling, penalty: As in `DraftState`.
        stats: Filled in.
        recall: What an earlier request has read already.
    """

    draft: VideoLM
    inputs: Inputs
    positions: str
    repack: bool
    room: int
    sampling: Sampling
    penalty: RepetitionPenalty
    stats: Stats
    recall: Recall | None = None
    _features: Features = field(default_factory=Features)

    def see(self, shared: Features | None, *, blind: bool) -> None:
        """Encode the video.

        Args:
            shared: The target's features, if both towers hold the same weights.
            blind: No video token will be kept: placeholders do for what is dropped anyway.
        """
        draft = self.draft
        with self.stats.work("vision", DRAFT, "vision", draft.device):
            if shared is not None:
                self._features = shared.to(draft.device, draft.dtype)
            else:
                self._features = draft.blind_features(self.inputs) if blind else self._seen()

    def _seen(self) -> Features:
        if self.recall is None:
            return self.draft.encode(self.inputs)
        return self.recall.features("draft", lambda: self.draft.encode(self.inputs))

    def prefill(self, kept: Tensor) -> DraftState:
        """Read the prompt with the video tokens `kept`."""
        draft = self.draft
        with self.stats.work("draft_prefill", DRAFT, "prefill", draft.device) as span:
            prompt = draft.prompt(self.inputs, self._features, self.positions)
            head, recall, rule = NOTHING, self.recall, f"{self.positions} {self.repack}"
            if recall is not None:
                prompt = replace(prompt, identity=recall.identity)
            prompt = prompt.prune(kept, repack=self.repack)
            if recall is not None:
                head = recall.draft_head(rule, prompt)
            span.tokens = len(prompt) - head.length
            state = DraftState(draft, prompt, len(prompt) + self.room, self.sampling, self.penalty, head)
            if recall is not None:
                recall.hold_draft(rule, prompt, state)
        self.stats.cache_bytes["draft"] = state.cache.bytes
        return state
