import json
import subprocess
import sys

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from locust_adaptive.replay.sharding import SLOTS, ShardMap, session_hash

NAMES = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=6, unique=True)
SESSIONS = [f"session-{i}" for i in range(500)]
HASHES = np.array([session_hash(session) for session in SESSIONS], dtype=np.uint64)


def test_a_session_hashes_the_same_for_ever():
    assert session_hash("session-1") == 0xAE49BD2CD463E7AC


@given(NAMES, st.data())
@settings(max_examples=50, deadline=None)
def test_shares_are_disjoint_and_complete(names, data):
    weights = data.draw(
        st.none() | st.lists(st.floats(0.01, 100), min_size=len(names), max_size=len(names)), label="weights"
    )
    shards = ShardMap(names, weights)
    owned = np.array([shards.shard(name).owns(HASHES) for name in names])
    assert owned.sum(axis=0).tolist() == [1] * len(SESSIONS)
    for session, owner in zip(SESSIONS, owned.argmax(axis=0), strict=True):
        assert shards.owner(session) == names[owner]


@given(NAMES, st.randoms())
@settings(max_examples=50, deadline=None)
def test_the_order_of_the_workers_does_not_matter(names, random):
    other = list(names)
    random.shuffle(other)
    one, two = ShardMap(names), ShardMap(other)
    assert all(one.owner(session) == two.owner(session) for session in SESSIONS)


@given(NAMES.filter(lambda names: len(names) > 1))
@settings(max_examples=50, deadline=None)
def test_when_a_worker_goes_only_its_sessions_move(names):
    before, after = ShardMap(names), ShardMap(names[:-1])
    for session in SESSIONS:
        if before.owner(session) != names[-1]:
            assert after.owner(session) == before.owner(session)


def test_shares_follow_the_weights():
    shares = np.bincount(ShardMap(["a", "b", "c"], [1, 1, 2]).table) / SLOTS
    assert shares == pytest.approx([0.25, 0.25, 0.5], abs=0.04)  # 5 sigma of 4096 draws


@given(NAMES)
@settings(max_examples=20, deadline=None)
def test_the_map_survives_the_message(names):
    shards = ShardMap(names)
    assert ShardMap.from_dict(msgpack.unpackb(msgpack.packb(shards.to_dict()))) == shards


def test_every_process_makes_the_same_map():
    script = "from locust_adaptive.replay.sharding import ShardMap; print(list(ShardMap(['a', 'b']).table))"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(other.stdout) == list(ShardMap(["a", "b"]).table)


@pytest.mark.parametrize(
    ("workers", "weights"), [([], None), (["a", "a"], None), (["a"], [0]), (["a"], [1, 2]), (["a"], [float("nan")])]
)
def test_a_map_that_makes_no_sense_is_refused(workers, weights):
    with pytest.raises(ValueError, match="worker"):
        ShardMap(workers, weights)


@pytest.mark.parametrize(
    "plain",
    [
        {},
        {"workers": ["a"]},
        {"workers": ["a"], "table": [0]},
        {"workers": ["a"], "table": [1] * SLOTS},
        {"workers": ["a"], "table": ["a"] * SLOTS},
        {"workers": 1, "table": []},
    ],
)
def test_a_message_that_is_no_map_is_refused(plain):
    with pytest.raises(ValueError, match="not a shard map"):
        ShardMap.from_dict(plain)


def test_an_unknown_worker_is_named():
    with pytest.raises(ValueError, match="no worker 'b'"):
        ShardMap(["a"]).shard("b")
