"""Shapes and costs of windows: what the draft runs, and what it leaves unrun."""

from itertools import pairwise
from typing import Any

import pytest
import torch

from rushes import RushesError
from rushes.drafting.chain import Chain
from rushes.drafting.state import DraftState
from rushes.drafting.tree import SPECVLM_TREE, StaticTree, rank_paths
from rushes.models.base import VideoLM
from rushes.models.registry import adapt
from rushes.sampling import RepetitionPenalty, Sampling
from rushes.window import Window, ancestors
from tiny import FIRST_TEXT_TOKEN, tiny_qwen2_5_vl, tiny_text_inputs

# The rank paths of the paper, depth by depth.
PAPER = {
    1: ["0", "1", "2", "3"],
    2: ["00", "01", "02", "10", "11", "20", "21", "30"],
    3: ["000", "001", "002", "010", "011", "020", "021", "100"],
    4: ["0000", "0001", "0002"],
    5: ["00000", "00001"],
}


def paths_of(window: Window) -> list[str]:
    """Each node by the ranks of its ancestors and itself among their siblings."""
    rank = {node: str(i) for siblings in window.children.values() for i, node in enumerate(siblings)}
    return ["".join(rank[a] for a in ancestors(window.parents, node)) for node in range(len(window))]


@pytest.fixture
def state() -> DraftState:
    return prefilled(Sampling())


def prefilled(sampling: Sampling, vocabulary: int = 96) -> DraftState:
    model = adapt(tiny_qwen2_5_vl(vocab=vocabulary), "draft")
    inputs = tiny_text_inputs(model.model)
    with torch.inference_mode():
        prompt = model.prompt(inputs, model.encode(inputs))
        state = DraftState(
            model, prompt, 100, sampling, RepetitionPenalty(1.0, inputs["input_ids"][0], model.vocabulary)
        )
    state.pending = [FIRST_TEXT_TOKEN]
    return state


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every forward from here on."""
    rows: list[int] = []
    forward = VideoLM.forward

    def counted(self: VideoLM, embeds: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        rows.append(len(embeds))
        return forward(self, embeds, *args, **kwargs)

    monkeypatch.setattr(VideoLM, "forward", counted)
    return rows


@torch.inference_mode()
def draft(drafter: Any, state: DraftState, limit: int = 50) -> Window:
    window = drafter.draft(state, limit)
    assert isinstance(window, Window)
    return window


def test_the_static_tree_is_the_papers(state: DraftState) -> None:
    assert [list(level) for level in rank_paths(SPECVLM_TREE, 5)] == list(PAPER.values())
    assert paths_of(draft(StaticTree(), state)) == [path for level in PAPER.values() for path in level]
    assert StaticTree().max_nodes == 25


@pytest.mark.parametrize("paths", [" ".join("0" * n for n in range(1, 1100)), " ".join(["0"] * 10**6)])
def test_a_tree_of_too_many_nodes_is_refused_before_it_is_built(paths: str) -> None:
    with pytest.raises(RushesError, match="nodes must be between 1 and 1024"):
        StaticTree(5, paths)


@pytest.mark.parametrize("gamma", [1, 2, 3, 4, 5, 6, 8])
def test_gamma_cuts_the_tree_or_carries_the_best_branch_on(gamma: int, state: DraftState) -> None:
    tree = StaticTree(gamma)
    window = draft(tree, state)
    wanted = [path for depth, level in PAPER.items() if depth <= gamma for path in level]
    wanted += ["0" * depth for depth in range(6, gamma + 1)]
    assert paths_of(window) == wanted
    assert window.depth == tree.gamma == gamma
    assert tree.max_nodes == len(wanted)


def test_a_tree_costs_five_forwards_and_runs_inner_nodes_only(state: DraftState, forwards: list[int]) -> None:
    before = state.cache.length
    window = draft(StaticTree(), state)
    assert len(window) == 25
    assert window.depth == 5
    inner = [node for node in range(25) if node in window.parents]
    assert [node for node, slot in enumerate(window.draft_slots) if slot >= 0] == inner
    by_depth = [sum(window.depths[node] == depth for node in inner) for depth in range(1, 5)]
    assert forwards == [1, *by_depth] == [1, 4, 4, 1, 1]
    # After the pending token, one slot each, without gaps.
    assert sorted(window.draft_slots[node] for node in inner) == list(range(before + 1, before + 11))
    assert state.cache.length == before + 11


@pytest.mark.parametrize("gamma", [1, 2, 5, 8])
def test_a_chain_costs_gamma_forwards_and_leaves_its_last_token_unrun(
    gamma: int, state: DraftState, forwards: list[int]
) -> None:
    before = state.cache.length
    window = draft(Chain(gamma), state)
    assert len(window) == window.depth == Chain(gamma).max_nodes == gamma
    assert window.parents == tuple(range(-1, gamma - 1))
    assert forwards == [1] * gamma
    assert window.draft_slots == [*range(before + 1, before + gamma), -1]


@pytest.mark.parametrize("drafter", [Chain(5), StaticTree(5)], ids=["chain", "tree"])
@pytest.mark.parametrize("limit", [0, 1, 3, 5, 9])
def test_a_window_is_never_deeper_than_the_limit(
    drafter: Any, limit: int, state: DraftState, forwards: list[int]
) -> None:
    window = draft(drafter, state, limit)
    assert window.depth == min(5, limit)
    assert len(forwards) == min(5, limit)
    assert limit or (window.tokens == [] and state.pending == [FIRST_TEXT_TOKEN])


def test_children_are_the_drafts_choices_by_rank(state: DraftState) -> None:
    chain = draft(Chain(5), state)
    tree = draft(StaticTree(), prefilled(Sampling()))
    best = [paths_of(tree).index("0" * depth) for depth in range(1, 6)]
    assert [tree.tokens[node] for node in best] == chain.tokens
    for siblings in tree.children.values():
        assert len({tree.tokens[node] for node in siblings}) == len(siblings)
    assert tree.q is None
    assert chain.q is None


def test_sampled_siblings_are_drawn_without_replacement_and_q_says_from_what() -> None:
    for seed in range(5):
        window = draft(StaticTree(), prefilled(Sampling(1.5, seed=seed)))
        assert window.q is not None
        assert window.q.shape == (25, 96)
        torch.testing.assert_close(window.q.sum(-1), torch.ones(25))
        for siblings in window.children.values():
            for elder, younger in pairwise(siblings):
                rest = window.q[elder].clone()
                rest[window.tokens[elder]] = 0
                torch.testing.assert_close(window.q[younger], rest / rest.sum())
            assert all(window.q[node, window.tokens[node]] > 0 for node in siblings)


def test_more_siblings_than_tokens_to_draw_from_are_no_candidates() -> None:
    window = draft(StaticTree(), prefilled(Sampling(1.0, top_k=2, seed=0)))
    assert window.q is not None
    drawable = (window.q.sum(-1) > 0.5).tolist()
    assert drawable == [path[-1] < "2" for path in paths_of(window)]


def test_gamma_below_one_and_orphans_are_refused() -> None:
    for drafter in (Chain, StaticTree):
        with pytest.raises(RushesError, match="gamma must be between 1 and 1024, got 0"):
            drafter(0)
    with pytest.raises(RushesError, match="node 10 has no parent 1"):
        StaticTree(2, "0 10")
    for paths in (" ", "0 x", "²", "-1"):
        with pytest.raises(RushesError, match="nodes are digits with spaces between"):
            StaticTree(2, paths)
    with pytest.raises(RushesError, match="node 2 has no elder sibling 1"):
        StaticTree(1, "0 2")
