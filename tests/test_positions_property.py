"""After any sequence of rounds, cache slots and rope positions give the logits of a forward without a cache."""

from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from families import FAMILIES
from rushes.drafting.chain import Chain
from rushes.drafting.state import DraftState
from rushes.drafting.tree import StaticTree
from rushes.models.base import Features, VideoLM
from rushes.models.registry import adapt
from rushes.sampling import RepetitionPenalty, Sampling
from rushes.scheduling.base import Request
from rushes.scheduling.sequential import Sequential
from rushes.stats import Stats
from rushes.verification.base import Lossless
from rushes.window import Verdict, Window, ancestors
from tiny import FIRST_TEXT_TOKEN, noisy

VOCABULARY = 96
WITHIN = 1e-4


@cache
def models(family: str) -> tuple[Any, Any]:
    """Target and draft that no adapter has touched: they run stock attention without a cache."""
    target = FAMILIES[family].make(0)
    return target, noisy(target, 0.1)


@cache
def adapters(family: str) -> tuple[VideoLM, VideoLM]:
    target, draft = (adapt(deepcopy(model), "model") for model in models(family))
    return target, draft


@dataclass
class Reference:
    """What the model sees, recomputed from nothing: the columns of the prompt and of every token behind it."""

    model: Any
    embeds: Tensor
    positions: Tensor  # (3, S) or (1, S)
    first: int  # rope position of the first written token
    added: Tensor | None = None  # (n, S, H) what is added behind the first layers

    def logits(self, written: list[int]) -> Tensor:
        """(len(written) + 1, V) logits behind the prompt and behind each written token."""
        language = self.model.model.language_model
        embeds = torch.cat([self.embeds, language.embed_tokens(torch.tensor(written, dtype=torch.long))])
        behind = torch.arange(self.first, self.first + len(written)).expand(len(self.positions), -1)
        positions = torch.cat([self.positions, behind], dim=1)
        rows = positions[:, None] if len(positions) == 3 else positions
        everything = torch.ones(1, len(embeds), dtype=torch.long)  # unsaid, gaps in a row would end a packed sequence
        more: dict[str, Any] = {"use_cache": False}
        if self.added is not None:
            nothing = self.added.new_zeros(len(self.added), len(written), self.added.shape[2])
            more["deepstack_visual_embeds"] = list(torch.cat([self.added, nothing], dim=1))
            more["visual_pos_masks"] = everything.bool()
        out = language(inputs_embeds=embeds[None], position_ids=rows, attention_mask=everything, **more)
        return self.model.lm_head(out.last_hidden_state[0, -len(written) - 1 :])


def added(features: Features, is_video: Tensor) -> Tensor | None:
    """(n, S, H) DeepStack's rows at the columns of a prompt without pictures."""
    if features.video_deep is None:
        return None
    made = features.video_deep.new_zeros(len(features.video_deep), len(is_video), features.video_deep.shape[2])
    made[:, is_video] = features.video_deep
    return made


@dataclass
class Script:
    """Drafts with a real drafter, accepts what the example says, and keeps the logits that both models gave."""

    drafters: list[Any]
    picks: list[tuple[int, int]]  # where the accepted path ends, and the token behind it
    window: Window = field(default_factory=lambda: Window([], ()))
    reviewed: Tensor | None = None
    gamma: int = 8
    max_nodes: int = 64
    lossless: bool = True

    def draft(self, state: DraftState, limit: int) -> Window:
        drafter = self.drafters.pop(0)
        self.window = Window([], ()) if drafter is None else drafter.draft(state, limit)
        return self.window

    def verify(
        self, window: Window, logits: Tensor, sampling: Sampling, generator: torch.Generator, *_: object
    ) -> Verdict:
        self.reviewed = logits
        end, following = self.picks.pop(0)
        end = end % (len(window) + 1) - 1
        return Verdict([] if end < 0 else ancestors(window.parents, end), following)


@st.composite
def trees(draw: st.DrawFn) -> StaticTree:
    """Any shape of up to 9 nodes, by rank paths."""
    names: list[str] = []
    for _ in range(draw(st.integers(1, 9))):
        parent = draw(st.sampled_from(["", *names]))
        rank = sum(len(name) == len(parent) + 1 and name.startswith(parent) for name in names)
        names.append(f"{parent}{rank}")
    return StaticTree(max(map(len, names)), " ".join(sorted(names, key=lambda name: (len(name), name))))


drafters = st.one_of(st.none(), st.integers(1, 6).map(Chain), trees(), trees())
rounds = st.tuples(drafters, st.integers(0, 60), st.integers(FIRST_TEXT_TOKEN, VOCABULARY - 1))


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    plan=st.lists(rounds, min_size=1, max_size=6),
    kept=st.sets(st.integers(0, 17)),
    repack=st.booleans(),
    seed=st.integers(0, 3),
)
@torch.inference_mode()
def test_any_rounds_give_the_logits_of_a_forward_without_a_cache(
    family: str, plan: list[tuple[Any, int, int]], kept: set[int], repack: bool, seed: int
) -> None:
    target, draft = adapters(family)
    inputs = FAMILIES[family].inputs(models(family)[0], seed=seed)
    prompt = target.prompt(inputs, target.encode(inputs))
    sees = draft.prompt(inputs, draft.encode(inputs))
    # The draft's columns, by hand: all text and the kept video tokens, each at its own position unless packed anew.
    is_video = FAMILIES[family].cells(models(family)[0], inputs)
    number = is_video.cumsum(0) - 1
    columns = [c for c in range(len(prompt)) if not is_video[c] or int(number[c]) in kept]
    at = torch.arange(len(columns)).expand(len(sees.positions), -1) if repack else sees.positions[:, columns]
    following = len(columns) if repack else int(sees.positions.max()) + 1
    deep, seen_deep = (added(model.encode(inputs), is_video) for model in (target, draft))
    full = Reference(models(family)[0], prompt.embeds, prompt.positions, int(prompt.positions.max()) + 1, deep)
    seen_deep = None if seen_deep is None else seen_deep[:, columns]
    pruned = Reference(models(family)[1], sees.embeds[columns], at, following, seen_deep)

    script = Script([drafter for drafter, _, _ in plan], [(end, token) for _, end, token in plan])
    sampling, penalty = Sampling(), RepetitionPenalty(1.0, inputs["input_ids"][0], VOCABULARY)
    capacity = len(prompt) + 128
    state = DraftState(draft, sees.prune(torch.tensor(sorted(kept)).long(), repack=repack), capacity, sampling, penalty)
    spy = Spy(draft)
    state.model = spy  # type: ignore[assignment]
    cache = target.new_cache(capacity)
    target.prefill(prompt, cache)
    emitted = [FIRST_TEXT_TOKEN]
    state.pending = list(emitted)
    request = Request(
        target=target,
        cache=cache,
        position_rows=len(prompt.positions),
        last_token=emitted[-1],
        position=prompt.next_position,
        remaining=1000,
        sampling=sampling,
        generator=torch.Generator(),
        penalty=penalty,
        judge=script,
        stats=Stats(),
        drafter=script,
        draft=state,
    )
    for tokens in Sequential().rounds(request):
        window = script.window
        assert script.reviewed is not None
        leaves = set(range(len(window))) - set(window.parents)
        for path in [ancestors(window.parents, leaf) for leaf in leaves] or [[]]:
            written = emitted + [window.tokens[node] for node in path]
            rows = [0, *(node + 1 for node in path)]
            assert_close(script.reviewed[rows], full.logits(written)[len(emitted) :])
            if len(window):  # the draft's own logits, at each node that it ran
                ran = sorted(
                    (node for node in range(len(window)) if window.draft_slots[node] >= 0),
                    key=window.draft_slots.__getitem__,
                )
                seen = [0, *(1 + ran.index(node) for node in path if node in ran)]
                wanted = pruned.logits(written)[len(emitted) : len(emitted) + len(seen)]
                assert_close(torch.cat(spy.seen)[seen], wanted)
        emitted += tokens
        assert cache.length == len(prompt) + len(emitted) - 1  # all but the last token
        assert request.position == full.first + len(emitted) - 1
        assert state.cache.length + len(state.pending) == len(columns) + len(emitted)
        assert state.next_position == pruned.first + len(emitted) - len(state.pending)
        assert state.pending == emitted[-len(state.pending) :]
        spy.seen.clear()
        if not script.drafters:
            break


class Spy:
    """A model whose logits are kept."""

    def __init__(self, model: VideoLM) -> None:
        self._model = model
        self.seen: list[Tensor] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def logits(self, hidden: Tensor) -> Tensor:
        self.seen.append(self._model.logits(hidden))
        return self.seen[-1]


def assert_close(ours: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(ours, wanted, atol=WITHIN, rtol=0)


@pytest.mark.parametrize("drafter", [Chain(5), StaticTree()], ids=["chain", "tree"])
@pytest.mark.parametrize("family", FAMILIES)
@torch.inference_mode()
def test_real_rounds_leave_a_draft_that_continues_as_if_it_had_read_everything(family: str, drafter: Any) -> None:
    target, draft = adapters(family)
    inputs = FAMILIES[family].inputs(models(family)[0])
    prompt = target.prompt(inputs, target.encode(inputs))
    sampling, penalty = Sampling(), RepetitionPenalty(1.0, inputs["input_ids"][0], VOCABULARY)
    cache = target.new_cache(200)
    hidden = target.prefill(prompt, cache)
    state = DraftState(draft, draft.prompt(inputs, draft.encode(inputs)), 200, sampling, penalty)
    emitted = [int(target.logits(hidden[-1:]).argmax())]
    state.pending = list(emitted)
    request = Request(
        target=target,
        cache=cache,
        position_rows=len(prompt.positions),
        last_token=emitted[-1],
        position=prompt.next_position,
        remaining=60,
        sampling=sampling,
        generator=torch.Generator(),
        penalty=penalty,
        judge=Lossless(),
        stats=Stats(),
        drafter=drafter,
        draft=state,
    )
    sees = draft.prompt(inputs, draft.encode(inputs))
    deep = added(draft.encode(inputs), FAMILIES[family].cells(models(family)[0], inputs))
    reference = Reference(models(family)[1], sees.embeds, sees.positions, sees.next_position, deep)
    for tokens in Sequential().rounds(request):
        emitted += tokens
        committed, pending = state.cache.length, list(state.pending)
        assert_close(state.read_pending(), reference.logits(emitted)[-1:])
        state.cache.roll_back(committed)
        assert state.pending == pending
        if len(emitted) > 40:
            break
    assert 0 < request.stats.accepted < request.stats.drafted
