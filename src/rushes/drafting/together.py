"""Many requests' drafts advance together: one draft forward for each token that all of them write."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rushes.batched_cache import BatchedKVCache, Row
from rushes.drafting.state import DraftState
from rushes.models.base import Prompt, VideoLM
from rushes.sampling import RepetitionPenalty, Sampling, draw


class RowState(DraftState):
    """A `DraftState` whose cache is a row of a cache for many requests.

    Args:
        model, prompt, sampling, penalty: As in `DraftState`.
        row: Empty, with room for the prompt.
    """

    cache: Row

    def __init__(
        self, model: VideoLM, prompt: Prompt, row: Row, sampling: Sampling, penalty: RepetitionPenalty
    ) -> None:
        self._start(model, prompt, row, sampling, penalty)
        model.prefill(prompt, row)

    def follow(self, line: list[int]) -> None:
        """As `DraftState.follow`; the last token is read anew where it had been guessed, for the logits behind it."""
        super().follow(line)
        if not self.pending:
            self.cache.roll_back(self.cache.length - 1)
            self.next_position -= 1
            self.seen, self.pending = line[:-1], line[-1:]

    def catch_up(self, line: list[int]) -> None:
        """Go on from `line`, all tokens behind the prompt: what the row does not hold is run now, but for the last."""
        self.follow(line)
        *read, last = self.pending
        if read:
            self.pending = read
            self.read_pending()
            self.seen, self.next_position = line[:-1], self.next_position + len(read)
        self.pending = [last]


@dataclass(slots=True)
class Written:
    """What one request's draft wrote.

    Attributes:
        tokens: Candidates, in order.
        distributions: (V,) each, what every candidate was drawn from; none when greedy.
    """

    tokens: list[int] = field(default_factory=list)
    distributions: list[Tensor] = field(default_factory=list)


def draft_together(
    cache: BatchedKVCache, states: Sequence[RowState], limits: Sequence[int], rows_at_once: int | None = None
) -> list[Written]:
    """Write a chain for every request; as long as one of them writes, one forward serves all.

    Args:
        cache: Whose rows the states hold; rows of other requests wait.
        states: With the tokens that each has not read as `pending`, at least one.
        limits: How many tokens each may write, 1 or more.
        rows_at_once: Most rows in one forward; None for all.

    Returns:
        One for each state. A state holds what it wrote as if it had been accepted; `DraftState.follow` takes it back.

    Raises:
        NoRoom: The cache cannot grow as far as this needs.
    """
    chains = {state.cache.index: _Chain(state, limit) for state, limit in zip(states, limits, strict=True)}
    longest = max(state.cache.length + len(state.pending) for state in states)
    others = max(row.length for row in cache.rows)
    # What is padding for one row is written, and not committed, behind its last slot.
    cache.reserve(max(longest, others) + max(len(state.pending) for state in states) + max(limits))
    size = len(cache.rows) if rows_at_once is None else rows_at_once
    for first in range(0, len(cache.rows), size):
        group = [chains.get(row.index) for row in cache.rows[first : first + size]]
        while any(chain is not None and chain.goes_on for chain in group):
            _step(cache, group, first)
    return [chains[state.cache.index].written for state in states]


@dataclass(slots=True)
class _Chain:
    state: RowState
    limit: int
    written: Written = field(default_factory=Written)

    @property
    def goes_on(self) -> bool:
        return len(self.written.tokens) < self.limit

    def choose(self, logits: Tensor, best: int) -> None:
        """One more candidate from its (1, V) logits; `best` is their argmax where nothing changes them."""
        state = self.state
        if state.sampling.greedy:
            token = best if state.penalty.penalty == 1 else int(state.penalty(logits, [[]]).argmax())
        else:
            q = state.sampling.probabilities(state.penalty(logits, [[]]))[0]
            self.written.distributions.append(q)
            token = draw(q, state.generator)
        self.written.tokens.append(token)
        state.write(token)


def _step(cache: BatchedKVCache, group: Sequence[_Chain | None], first: int) -> None:
    """One forward for all rows of a group, and one more candidate for each chain that goes on."""
    model = next(chain.state.model for chain in group if chain is not None)
    rows_of_positions = next(chain.state.position_rows for chain in group if chain is not None)
    active = [chain if chain is not None and chain.goes_on else None for chain in group]
    counts = [0 if chain is None else len(chain.state.pending) for chain in active]
    widest = max(counts)
    tokens = torch.zeros(len(group), widest, dtype=torch.long)
    positions = torch.zeros(len(group), widest, dtype=torch.long)
    for i, chain in enumerate(active):
        if chain is not None:
            tokens[i, : counts[i]] = torch.tensor(chain.state.pending)
            positions[i] = torch.arange(widest) + chain.state.next_position
    embeds = model.language_model.embed_tokens(tokens.to(model.device))
    at = positions.to(model.device).expand(rows_of_positions, -1, -1)
    hidden = model.forward_rows(embeds, at, cache, counts, first)
    writing = [i for i, chain in enumerate(active) if chain is not None]
    last = torch.tensor([counts[i] - 1 for i in writing], device=model.device)
    logits = model.logits(hidden[torch.tensor(writing, device=model.device), last])
    best = logits.argmax(-1).tolist()
    for row, i in enumerate(writing):
        chain = active[i]
        assert chain is not None
        chain.choose(logits[row : row + 1], best[row])
