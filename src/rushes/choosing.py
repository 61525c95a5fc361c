"""The kept video tokens: chosen once, as soon as the signals that the scorer reads exist."""

from torch import Tensor

from rushes.models.base import Features, Prompt, VideoLM
from rushes.pruning.base import Scorer
from rushes.recording import Recording
from rushes.signals import When
from rushes.stats import Stats
from rushes.timeline import TARGET


class Choice:
    """What one request's scorer keeps.

    Args:
        scorer: Scores and selects.
        budget: K.
        target, prompt, features: Of the request.
        stats: Filled in.

    Attributes:
        recording: What the target's prefill must show to; it has nothing to look at for some scorers.
    """

    def __init__(
        self, scorer: Scorer, budget: int, target: VideoLM, prompt: Prompt, features: Features, stats: Stats
    ) -> None:
        depth = target.text_config.num_hidden_layers
        self.recording = Recording(prompt, scorer.needs, scorer.early_layer(depth), depth)
        self._scorer = scorer
        self._budget = budget
        self._device = target.device
        self._grids = prompt.grids
        self._features = features
        self._stats = stats
        self._kept: Tensor | None = None

    @property
    def ready(self) -> When:
        """The stage of the prefill behind which `kept` can be asked for; the last one if nothing will be shown."""
        early = self._scorer.ready
        return When.PREFILL if early is When.EARLY_LAYERS and not self.recording.watches else early

    @property
    def kept(self) -> Tensor:
        """(K,) ascending indices on the CPU, or (layers, K)."""
        if self._kept is None:
            with self._stats.work("scoring", TARGET, "scoring", self._device):
                scores = self._scorer.score(self.recording.signals(self._features))
                self._kept = self._scorer.select(scores, self._budget, self._grids).cpu()
        return self._kept
