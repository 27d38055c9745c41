import dataclasses
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locust_adaptive.replay.index import Index
from locust_adaptive.replay.population import BLOCK, Population
from locust_adaptive.replay.sharding import ShardMap, session_hash


def make(sessions, longest=1, sigma=1.0, seed=0):
    """Sessions of 1 to `longest` requests, interleaved; log-normal bodies, three endpoints of unlike share and size."""
    rng = np.random.default_rng(seed)
    session = rng.permutation(np.repeat(np.arange(sessions), rng.integers(1, longest + 1, sessions))).astype(np.int32)
    name = rng.choice(3, size=sessions, p=[0.8, 0.15, 0.05])[session].astype(np.int32)
    size = (np.exp(rng.normal(7, sigma, sessions))[session] * (1 + name)).astype(np.int32)
    hashes = np.array([session_hash(str(i)) for i in range(sessions)], dtype=np.uint64)
    return Index(np.arange(len(session)) * 10**6, session, name, size, hashes, ("a", "b", "c"))


def rows(population, probe, count):
    return [play.row for play in islice(population.plays(probe), count)]


@given(st.integers(1, 300), st.integers(1, 5), st.integers(0, 100), st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_each_lap_plays_every_request_once_sessions_whole_and_in_order(sessions, longest, seed, probe):
    index = make(sessions, longest, seed=seed)
    population = Population(index, seed)
    assert (population.sessions, population.requests) == (sessions, len(index))
    plays = list(islice(population.plays(probe), 3 * len(index)))
    assert [play.lap for play in plays] == [lap for lap in range(3) for _ in range(len(index))]
    for start in range(0, len(plays), len(index)):
        lap = plays[start : start + len(index)]
        assert sorted(play.row for play in lap) == list(range(len(index)))
        starts = [i for i, play in enumerate(lap) if i == 0 or play.session != lap[i - 1].session]
        assert len(starts) == sessions
        assert all(b.row > a.row for a, b in pairwise(lap) if a.session == b.session)
    assert all(index.session[play.row] == play.session for play in plays)


def test_a_probe_replays_and_probes_laps_and_seeds_differ():
    index = make(400)
    population = Population(index, 1)
    first = rows(population, 7, 800)
    assert rows(Population(index, 1), 7, 800) == first
    assert first[:400] != first[400:]
    assert first != rows(population, 8, 800)
    assert first != rows(Population(index, 2), 7, 800)


def test_workers_play_their_own_sessions_and_together_all():
    index = make(500, 3)
    shards = ShardMap(["a", "b", "c"])
    parts = [Population(index, 1, shards.shard(worker)) for worker in shards.workers]
    played = [set(rows(part, 3, part.requests)) for part in parts]
    assert sorted(row for part in played for row in part) == list(range(len(index)))
    for worker, part in zip(shards.workers, played, strict=True):
        assert {shards.owner(str(index.session[row])) for row in part} == {worker}


def test_a_worker_without_sessions_is_told_why():
    shards = ShardMap([f"w{i}" for i in range(50)])
    index = make(2)
    idle = next(worker for worker in shards.workers if not shards.shard(worker).owns(index.session_hash).any())
    with pytest.raises(ValueError, match=f"worker '{idle}': there are only 2 sessions to play; use fewer workers"):
        Population(index, 1, shards.shard(idle))


def without(index, rows):
    return dataclasses.replace(index, bodyless=np.asarray(rows, dtype=np.int32))


def test_only_sessions_of_which_every_body_was_kept_are_played():
    index = make(500, 4)
    population = Population(without(index, range(0, 300, 3)), 1)
    broken = set(index.session[0:300:3].tolist())
    whole = [row for row in range(len(index)) if index.session[row] not in broken]
    assert 0 < len(whole) < len(index) - 100
    assert (population.sessions, population.requests) == (500 - len(broken), len(whole))
    assert sorted(rows(population, 1, len(whole))) == whole


def test_a_trace_of_which_nothing_can_be_played_says_what_to_do():
    index = make(20)
    with pytest.raises(ValueError, match=r"none of the 20 sessions of the trace has all its bodies.*record it again"):
        Population(without(index, range(20)), 1)


def spread(index, draw, count, draws=200):
    """Standard deviation of the mean body size of `count` plays, relative to the population's mean."""
    means = np.array([index.size[draw(k, count)].mean() for k in range(draws)])
    assert means.mean() == pytest.approx(index.size.mean(), rel=5 * means.std() / index.size.mean() / draws**0.5 + 0.01)
    return means.std() / index.size.mean()


def independent(index):
    """Sessions drawn independently, each played whole: what stratification is measured against."""
    order = np.argsort(index.session, kind="stable")
    ends = np.cumsum(np.bincount(index.session))
    rng = np.random.default_rng(5)

    def draw(_, count):
        chosen = rng.integers(0, len(ends), count)
        starts = np.concatenate([[0], ends[:-1]])
        return np.concatenate([order[starts[session] : ends[session]] for session in chosen])[:count]

    return draw


@pytest.mark.parametrize(("longest", "sigma", "part"), [(1, 0.6, 0.55), (1, 1.2, 0.65), (5, 1.2, 0.4)])
def test_the_mean_body_of_200_plays_varies_far_less_than_under_independent_draws(longest, sigma, part):
    index = make(3000, longest, sigma)
    population = Population(index, 1)
    stratified = spread(index, lambda probe, count: rows(population, probe, count), 200)
    assert stratified < part * spread(index, independent(index), 200)


def test_a_block_of_sessions_has_the_mix_of_endpoints():
    index = make(50 * BLOCK)
    population = Population(index, 1)
    whole = np.bincount(index.name) / len(index)
    for probe in range(30):
        mix = np.bincount(index.name[rows(population, probe, BLOCK)], minlength=3) / BLOCK
        assert np.abs(mix - whole).max() <= 1.5 / BLOCK


def test_neighbours_are_not_ordered_by_size():
    """Alternating large and small would spare the server its bursts of work: a queue must meet them as they come."""
    index = make(3000, sigma=0.6)
    size = np.log(index.size[rows(Population(index, 1), 1, 3000)])
    assert abs(np.corrcoef(size[:-1], size[1:])[0, 1]) < 0.06  # 3 sigma of 3000 independent pairs
