"""When the server is another than before: canaries, by what their answers took."""

import pytest

from locust_adaptive.search.grid import Grid
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.slo import Slo
from locust_adaptive.search.trial import Purpose
from locust_adaptive.search.worlds import CHANGED_LOOKS, Worlds, differs, worlds
from tests.support.searched import FAST, LITTLE, PLAIN, SAME, light

SETTINGS = Settings(Slo.parse("p95<100ms"), "open", Grid.rate(1, 1000), 10)


def after(*buckets: int) -> Worlds:
    """Of a gate and canaries."""
    canaries = [light(number, bucket) for number, bucket in enumerate(buckets, start=2)]
    return worlds([light(1, SAME, Purpose.GATE), *canaries], SETTINGS)


@pytest.mark.parametrize(
    ("buckets", "beginnings", "in_doubt"),
    [
        ((SAME, SAME + 1, SAME - 1), (0,), False),
        # One slow look may be a phase that passes; three in a row are another server, from the first of them on.
        ((PLAIN,), (0,), True),
        ((PLAIN, PLAIN), (0,), True),
        ((PLAIN, PLAIN, PLAIN), (0, 1), False),
        ((SAME, FAST, FAST, FAST), (0, 2), False),
        ((PLAIN, SAME), (0,), False),
        # Where one passed, three may be the next one.
        ((PLAIN, SAME, PLAIN, PLAIN, PLAIN), (0,), True),
        ((PLAIN, SAME, *[PLAIN] * 2 * CHANGED_LOOKS), (0, 3), False),
        # A little slower, and slower again: it drifts, and is known as it is now.
        ((LITTLE,), (0,), True),
        ((LITTLE, LITTLE), (0, 2), False),
        ((LITTLE, SAME, LITTLE), (0,), True),
        ((LITTLE, SAME - 6), (0,), True),
        ((LITTLE, LITTLE, LITTLE, LITTLE), (0, 2), False),
    ],
)
def test_where_worlds_begin(buckets: tuple[int, ...], beginnings: tuple[int, ...], in_doubt: bool) -> None:
    drifts = LITTLE in buckets and len(beginnings) > 1
    assert after(*buckets) == Worlds(beginnings, in_doubt, drifts)


def test_a_light_load_without_one_to_compare_with_settles_no_doubt() -> None:
    trials = [light(1, SAME, Purpose.GATE), light(2, PLAIN), light(3, PLAIN, load=50), light(4, PLAIN), light(5, PLAIN)]
    assert worlds(trials[:3], SETTINGS).in_doubt
    assert worlds(trials, SETTINGS).beginnings == (0, 1)


def test_a_gate_begins_the_world_anew() -> None:
    trials = [light(1, SAME, Purpose.GATE), light(2, PLAIN), light(3, PLAIN, Purpose.GATE), light(4, PLAIN)]
    assert worlds(trials, SETTINGS) == Worlds((2,))


def test_a_gate_that_a_stall_cut_short_begins_a_world_all_the_same() -> None:
    """Without one the search would climb for ever."""
    assert worlds([light(1, SAME, Purpose.GATE, seconds=0)], SETTINGS) == Worlds((0,))


def test_canaries_are_compared_with_those_of_their_load() -> None:
    """A higher load takes longer; that is no change of the server."""
    trials = [light(1, SAME, Purpose.GATE, load=40), *(light(n, PLAIN, load=80) for n in range(2, 6))]
    assert worlds(trials, SETTINGS) == Worlds((0,))


def test_a_difference_too_small_to_matter_is_none() -> None:
    """Half as long again, of less than half a millisecond."""
    assert not differs(light(1, 300), light(2, 320), SETTINGS)
    assert differs(light(1, SAME), light(2, PLAIN), SETTINGS)


@pytest.mark.parametrize(("lag", "another"), [(450, True), (460, False)], ids=["7.5 ms", "9.1 ms"])
@pytest.mark.parametrize("late", [0, 1], ids=["the gate", "the canary"])
def test_what_our_own_machine_may_have_added_is_no_change_of_the_server(late: int, lag: int, another: bool) -> None:
    """34 ms slower, and one request in three was sent so late."""
    looks = light(1, SAME, Purpose.GATE), light(2, PLAIN)
    for flow in looks[late].measurement.flows:
        flow.lag = {0: 2 * flow.sent, lag: flow.sent}
    assert differs(*looks, SETTINGS) is another
