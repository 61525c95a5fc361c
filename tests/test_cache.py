"""The cache is allocated once, holds what it says, and keeps what it was told to keep."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rushes import Pair, RushesError
from rushes.cache import KVCache
from rushes.models.base import VideoLM
from tiny import noisy, tiny_qwen2_5_vl, tiny_video_inputs

CPU = torch.device("cpu")


def filled(length: int, capacity: int = 32, layers: int = 2) -> KVCache:
    """Slot s of layer l holds the value 100 * l + s everywhere, its key the negative."""
    cache = KVCache(layers, 2, 4, capacity, torch.float32, CPU)
    for layer in range(layers):
        values = (100.0 * layer + torch.arange(length))[None, None, :, None].expand(1, 2, -1, 4)
        cache.update(-values, values, layer)
    cache.advance(length)
    return cache


def slots(cache: KVCache, layer: int = 0) -> list[int]:
    """What the committed slots hold."""
    nothing = torch.empty(1, 2, 0, 4)
    keys, values = cache.update(nothing, nothing, layer)
    assert torch.equal(keys, -values)
    assert (values == values[:, :1, :, :1]).all()
    return [int(value) - 100 * layer for value in values[0, 0, :, 0]]


def test_update_writes_behind_the_committed_slots_and_advance_commits() -> None:
    cache = filled(5)
    more = torch.full((1, 2, 2, 4), 7.0)
    for _ in range(2):  # the counter stands until every layer has written: the same slots again
        keys, values = cache.update(-more, more, 0)
        assert values.shape == keys.shape == (1, 2, 7, 4)
        assert cache.get_seq_length() == 5
    cache.advance(2)
    assert slots(cache) == [0, 1, 2, 3, 4, 7, 7]


@given(st.data())
def test_any_roll_backs_and_paths_keep_what_a_list_would(data: Any) -> None:
    cache, wanted = filled(20), list(range(20))
    for _ in range(data.draw(st.integers(1, 5))):
        if data.draw(st.booleans()):
            length = data.draw(st.integers(0, len(wanted)))
            cache.roll_back(length)
            wanted = wanted[:length]
        else:
            start = data.draw(st.integers(0, len(wanted)))
            path = sorted(
                data.draw(st.sets(st.sampled_from(range(start, len(wanted))) if wanted[start:] else st.nothing()))
            )
            cache.keep_path(start, path)
            wanted = wanted[:start] + [wanted[slot] for slot in path]
        assert cache.length == len(wanted)
        assert all(slots(cache, layer) == wanted for layer in (0, 1))


def test_a_roll_back_goes_backwards_only() -> None:
    cache = filled(5)
    for length in (6, -1):
        with pytest.raises(ValueError, match="cannot roll back"):
            cache.roll_back(length)


def test_more_than_the_capacity_is_refused() -> None:
    cache = filled(8, capacity=8)
    with pytest.raises(RuntimeError, match="cache of 8 slots asked for 9"):
        cache.update(torch.zeros(1, 2, 1, 4), torch.zeros(1, 2, 1, 4), 0)


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 4), (torch.bfloat16, 2)])
def test_bytes_are_what_is_allocated(dtype: torch.dtype, size: int) -> None:
    cache = KVCache(3, 2, 16, 50, dtype, CPU)
    assert cache.bytes == 2 * 3 * 2 * 16 * 50 * size == cache._data.numel() * cache._data.element_size()


def test_no_memory_says_how_much_is_needed() -> None:
    with pytest.raises(RushesError, match=r"1000000000000 slots need 238418\.58 GiB on cpu.*fewer frames"):
        KVCache(4, 2, 4, 10**12, torch.float32, CPU)


def test_a_failed_allocation_says_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "empty", refuse)
    with pytest.raises(RushesError, match=r"10 slots need 0\.00 GiB on cpu; use fewer frames"):
        KVCache(1, 1, 4, 10, torch.float32, CPU)


def test_a_request_without_memory_is_refused_in_one_line() -> None:
    model = tiny_qwen2_5_vl()
    model.config.text_config.max_position_embeddings = 10**13
    with pytest.raises(RushesError, match=r"no memory for the cache: .* GiB") as refused:
        Pair(model, model).generate_inputs(tiny_video_inputs(model), max_new_tokens=10**12)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("drafter", ["chain", "tree"])
@pytest.mark.parametrize("keep", [0.0, 0.5, 1.0])
def test_decoding_allocates_once_and_the_draft_holds_kept_tokens_only(
    keep: float, drafter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, new = tiny_qwen2_5_vl(kv_heads=2, layers=3), 30
    pair = Pair(target, noisy(target, 0.1))
    inputs = tiny_video_inputs(target)
    caches: list[KVCache] = []
    places: list[set[int]] = []
    lengths: list[list[int]] = []
    new_cache, forward = VideoLM.new_cache, VideoLM.forward

    def watched_cache(self: VideoLM, capacity: int) -> KVCache:
        caches.append(new_cache(self, capacity))
        places.append({caches[-1]._data.data_ptr()})
        lengths.append([])
        return caches[-1]

    def watched_forward(self: VideoLM, embeds: Any, positions: Any, cache: KVCache, *args: Any, **kwargs: Any) -> Any:
        out = forward(self, embeds, positions, cache, *args, **kwargs)
        which = next(i for i, known in enumerate(caches) if known is cache)
        places[which].add(cache._data.data_ptr())
        places[which].add(cache._layers[0][0].data_ptr())  # keys of layer 0 stand first
        lengths[which].append(cache.length)
        return out

    monkeypatch.setattr(VideoLM, "new_cache", watched_cache)
    monkeypatch.setattr(VideoLM, "forward", watched_forward)
    result = pair.generate_inputs(inputs, method=f"uniform+{drafter}+exact+sequential", keep=keep, max_new_tokens=new)
    assert len(caches) == 2
    assert [len(place) for place in places] == [1, 1]
    prompt, window = inputs["input_ids"].shape[1], 5 if drafter == "chain" else 25
    assert result.video_tokens == 18
    prompts = {"target": prompt, "draft": prompt - 18 + int(18 * keep)}
    for (role, length), cache, seen in zip(prompts.items(), caches, lengths, strict=True):
        capacity = length + new + window
        assert seen[0] == length
        assert max(seen) <= cache.capacity == capacity
        assert cache.bytes == 2 * 3 * 2 * 16 * capacity * 4 == result.metrics["cache_bytes"][role]
        assert cache._data.nbytes == cache.bytes


@given(st.data())
def test_set_aside_moves_what_is_dropped_to_the_front_and_a_tail_hides_it(data: Any) -> None:
    length = data.draw(st.integers(1, 20))
    columns = sorted(data.draw(st.sets(st.integers(0, length - 1), min_size=1)))
    budget = data.draw(st.integers(0, len(columns)))
    choice = st.permutations(range(len(columns))).map(lambda order: sorted(order[:budget]))
    by_layer = data.draw(st.booleans())
    kept = [data.draw(choice) for _ in range(2)] if by_layer else [data.draw(choice)] * 2
    cache = filled(length)
    cache.set_aside(torch.tensor(columns), torch.tensor(kept if by_layer else kept[0]).long())
    hidden = len(columns) - budget
    view = cache.tail(hidden)
    for layer in range(2):
        dropped = [column for i, column in enumerate(columns) if i not in kept[layer]]
        rest = [slot for slot in range(length) if slot not in dropped]
        assert slots(cache, layer) == dropped + rest
        assert slots(view, layer) == rest
    assert (view.capacity, view.length) == (cache.capacity - hidden, length - hidden)


def test_a_tail_writes_where_the_whole_cache_will_write_over_it() -> None:
    cache = filled(6)
    view = cache.tail(4)
    assert view.bytes == 0
    ahead, review = torch.full((1, 2, 3, 4), 50.0), torch.full((1, 2, 2, 4), 60.0)
    for layer in range(2):
        view.update(-ahead, ahead, layer)
    view.advance(3)
    assert slots(view) == [4, 5, 50, 50, 50]
    assert slots(cache) == [0, 1, 2, 3, 4, 5]
    for layer in range(2):
        cache.update(-review, review, layer)
    cache.advance(2)
    view.roll_back(4)
    assert slots(view) == [4, 5, 60, 60]
