"""The roll of workers: silence is counted in the time this process was awake, and those that differ are named."""

from __future__ import annotations

import pytest

from locust_adaptive.plugin.roll import ANSWER_S, AWAY_S, LEASE_S, PASS_S, Roll

OURS = {"locust-adaptive": "0.1.0", "Locust": "2.47.0"}


def called(*workers: str) -> Roll:
    """All are there and have answered alike, and take part."""
    roll = Roll(OURS)
    assert roll.call(workers, 0.0) == list(workers)
    for worker in workers:
        roll.answer(worker, OURS)
    roll.admit(roll.present)
    return roll


def wait(roll: Roll, seconds: float, *workers: str) -> None:
    """Time passes in looks of half a second."""
    for _ in range(round(seconds / 0.5)):
        roll.call(workers, 0.5)


def test_each_is_asked_until_it_is_heard_and_awaited() -> None:
    """Locust lists a worker before this package in it can hear: the first question may be lost."""
    roll = Roll(OURS)
    assert roll.call(["a", "b"], 0.0) == ["a", "b"]
    roll.answer("a", OURS)
    assert roll.call(["a", "b", "c"], 0.5) == ["b", "c"]
    roll.hear("b", 1.0, 0, 1)
    assert roll.call(["a", "b", "c"], 0.5) == ["c"]
    assert (roll.pending, roll.present, roll.odd) == (["b", "c"], ["a"], {})
    wait(roll, ANSWER_S, "a", "b", "c")
    assert roll.call(["a", "b", "c"], 0.5) == []


def test_no_answer_is_named_unless_it_lives() -> None:
    """A worker that reads a long trace says that it lives meanwhile."""
    roll = Roll(OURS)
    roll.call(["a", "b"], 0.0)
    for _ in range(round(2 * ANSWER_S)):
        roll.hear("b", 0.0, 0, 1)
        wait(roll, 1.0, "a", "b")
    assert roll.pending == ["b"]
    assert list(roll.odd) == ["a"]
    assert "no answer" in roll.odd["a"]


def test_silence_takes_out_of_the_search_and_a_word_brings_back() -> None:
    roll = called("a", "b")
    wait(roll, AWAY_S - 0.5, "a", "b")
    roll.hear("a", 5.0, 1, 1)
    wait(roll, 1.0, "a", "b")
    assert roll.present == ["a"]
    assert not roll.deserted
    roll.hear("b", 6.0, 1, 1)
    assert roll.present == ["a", "b"]
    assert (roll.heard_at("a"), roll.heard_at("b"), roll.heard_at("c")) == (5.0, 6.0, None)


def test_time_in_which_we_stood_still_is_nobody_s_silence() -> None:
    roll = called("a", "b")
    roll.call(["a", "b"], 60.0)
    assert roll.present == ["a", "b"]
    assert not roll.deserted
    assert PASS_S < AWAY_S / 2


def test_a_lease_is_over_before_others_take_the_load() -> None:
    assert LEASE_S <= AWAY_S


def test_deserted() -> None:
    roll = called("a", "b")
    wait(roll, AWAY_S, "a", "b")
    assert roll.deserted
    roll.hear("b", 1.0, 1, 1)
    assert not roll.deserted
    assert not Roll(OURS).deserted


def test_a_set_up_is_in_force_once_all_have_it() -> None:
    roll = called("a", "b")
    roll.hear("a", 1.0, 2, 1)
    assert not roll.all_in(2)
    roll.hear("b", 1.0, 2, 1)
    assert roll.all_in(2)


def test_whoever_comes_back_may_load_once_nobody_has_too_many_users() -> None:
    """`b` was silent, and `a` took its 8 of 16 users."""
    roll, intended = called("a", "b"), {"a": 8, "b": 8}

    def may_load(setup: int) -> list[bool]:
        return [roll.may_load(worker, setup, intended.__getitem__) for worker in "ab"]

    roll.hear("a", 1.0, 1, 0)
    assert may_load(1) == [False, False], "b may have more than it should"
    roll.hear("b", 1.0, 1, 0)
    assert may_load(1) == [True, True]
    roll.hear("a", 1.5, 1, 16)
    assert may_load(1) == [True, True], "users that leave go on with what they do"
    roll.admit(["a"])
    assert roll.may_load("a", 2, intended.__getitem__)
    roll.admit(["a", "b"])
    roll.hear("b", 9.0, 3, 8)
    assert may_load(3) == [True, False], "a is not heard yet: it may have been told of more users"
    for users, fits in [(16, False), (9, False), (8, True), (16, True)]:
        roll.hear("a", 9.0, 3, users)
        assert may_load(3) == [True, fits], users


@pytest.mark.parametrize(
    ("who", "odd"),
    [
        ({"a": {}, "b": {}}, {}),
        ({"a": {"Locust": "2.46"}, "b": {}}, {"a": "Locust 2.46, not 2.47.0"}),
        ({"a": {"trace": "x"}, "b": {"trace": "y"}, "c": {"trace": "y"}}, {"a": "trace x, not y"}),
        ({"a": {"trace": "x"}, "b": {}, "c": {"trace": "x"}}, {"b": "trace none, not x"}),
        ({"a": {"trace": "x"}, "b": {"trace": "y"}}, {"b": "trace y, not x"}),
    ],
)
def test_who_differs_from_the_master_or_from_most(who: dict[str, dict[str, str]], odd: dict[str, str]) -> None:
    roll = Roll(OURS)
    roll.call(sorted(who), 0.0)
    for worker, more in who.items():
        roll.answer(worker, OURS | more)
    assert roll.odd == odd


def test_later_ones_must_be_like_the_first_however_many_they_are() -> None:
    roll = Roll(OURS)
    roll.call(["a"], 0.0)
    roll.answer("a", OURS | {"trace": "x"})
    roll.admit(["a"])
    roll.call(["a", "b", "c"], 0.5)
    for worker in ("b", "c"):
        roll.answer(worker, OURS | {"trace": "y"})
    assert roll.odd == {"b": "trace y, not x", "c": "trace y, not x"}
    assert roll.present == ["a"]


def test_a_refusal_is_given_in_its_words() -> None:
    roll = called("a", "b")
    roll.refuse("b", "no session falls to this worker")
    assert roll.odd == {"b": "no session falls to this worker"}
    assert roll.present == ["a"]
    roll.call(["a"], 0.5)
    assert roll.odd == {}, "it has gone"
