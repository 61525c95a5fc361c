"""Counters and histograms for Prometheus, under the names that the field uses, with a prefix of our own."""

from collections.abc import Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from rushes.methods import METHODS
from rushes.serve.job import Done

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_BETWEEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_HELP = {
    "num_requests_running": "Requests that a pair answers now.",
    "num_requests_waiting": "Requests that wait or prepare themselves.",
    "prefix_cache_bytes": "Bytes held for later questions about the same videos.",
    "prefix_cache_entries": "Prompts held for later questions.",
    "prefix_cache_evictions": "Entries that had to go for others.",
    "video_cache_bytes": "Bytes of decoded and processed videos.",
}


class Sized(Protocol):
    """Something that knows what it holds."""

    def sizes(self) -> dict[str, float]: ...


class Metrics:
    """One server's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._sized: list[Sized] = []

        def counter(name: str, words: str, *labels: str) -> Counter:
            return Counter(f"rushes_{name}", words, labels, registry=self._registry)

        def histogram(name: str, words: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"rushes_{name}", words, buckets=buckets, registry=self._registry)

        self.time_to_first_token = histogram("time_to_first_token_seconds", "From arrival to first token.", _SECONDS)
        self.inter_token_latency = histogram("inter_token_latency_seconds", "Mean between tokens, by answer.", _BETWEEN)
        self.e2e_latency = histogram("e2e_request_latency_seconds", "From arrival to the end.", _SECONDS)
        self._prompt = counter("prompt_tokens", "Tokens of prompts.")
        self._cached = counter("prompt_tokens_cached", "Tokens of prompts that were not read again.")
        self._generated = counter("generation_tokens", "Tokens of answers.")
        self._success = counter("request_success", "Answers that were completed.", "finished_reason", "method")
        self._refused = counter("requests_refused", "Requests that got an error, by HTTP status.", "status", "code")
        self._cancelled = counter("requests_cancelled", "Answers that nobody waited for any more.")
        self._drafts = counter("spec_decode_num_drafts", "Verification rounds with a window.", "method")
        self._drafted = counter("spec_decode_num_draft_tokens", "Candidates that were reviewed.", "method")
        self._accepted = counter("spec_decode_num_accepted_tokens", "Candidates that were accepted.", "method")
        self._hits = counter("prefix_cache_hits", "Requests of whose prompt at least half was read before.")
        self._misses = counter("prefix_cache_misses", "Requests whose prompt was read from its beginning, or near it.")
        self._known = counter("video_cache_hits", "Videos that need not be decoded again.")
        self._new = counter("video_cache_misses", "Videos that were decoded.")
        self._registry.register(self)

    def watch(self, sized: Sized) -> None:
        """Ask something for its sizes whenever the metrics are read."""
        self._sized.append(sized)

    def count_answer(self, done: Done, total_s: float, first_s: float) -> None:
        """An answer that was completed.

        Args:
            total_s, first_s: From the request's arrival to the end, and to the first token.
        """
        asked, said = str(done.facts["method"]), done.metrics["speculative_decoding"]
        method = asked if asked in METHODS else "custom"  # clients spell out as many as they like; labels stay for good
        self.e2e_latency.observe(total_s)
        self.time_to_first_token.observe(first_s)
        if done.completion_tokens > 1:
            self.inter_token_latency.observe((total_s - first_s) / (done.completion_tokens - 1))
        self._prompt.inc(done.prompt_tokens)
        self._cached.inc(done.cached_tokens)
        self._generated.inc(done.completion_tokens)
        self._success.labels(done.finish_reason, method).inc()
        self._drafts.labels(method).inc(said["num_spec_steps"])
        self._drafted.labels(method).inc(said["num_draft_tokens"])
        self._accepted.labels(method).inc(said["num_accepted_draft_tokens"])

    def count_refusal(self, status: int, code: str | None) -> None:
        """A request that got an error."""
        self._refused.labels(str(status), code or "").inc()

    def count_cancelled(self) -> None:
        """A client went away."""
        self._cancelled.inc()

    def count_reuse(self, done: Done) -> None:
        """A prompt was read. A hit spares at least half of it: more than what all prompts begin with."""
        hit = 2 * done.cached_tokens >= done.prompt_tokens
        (self._hits if hit else self._misses).inc()

    def count_video(self, known: bool) -> None:
        """A video was asked about."""
        (self._known if known else self._new).inc()

    def collect(self) -> Iterator[Metric]:
        """prometheus_client's protocol: the gauges, as they are now."""
        for sized in self._sized:
            for name, value in sized.sizes().items():
                if name.endswith("evictions"):
                    yield CounterMetricFamily(f"rushes_{name}", _HELP[name], value=value)
                else:
                    yield GaugeMetricFamily(f"rushes_{name}", _HELP[name], value=value)

    def text(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self._registry)
