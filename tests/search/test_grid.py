import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.search.grid import Grid


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    if draw(st.booleans()):
        return Grid.rate(*sorted((draw(st.floats(1e-3, 1e6)), draw(st.floats(1e-3, 1e6)))))
    return Grid.users(*sorted((draw(st.integers(1, 5000)), draw(st.integers(1, 5000)))))


loads = st.floats(1e-4, 1e7) | st.integers(1, 9999).map(lambda tenths: tenths / 10)


@given(grids(), loads)
def test_snap_is_idempotent_and_stays_inside(grid: Grid, load: float) -> None:
    snapped = grid.snap(load)
    assert grid.snap(snapped) == snapped
    assert grid.minimum <= snapped <= grid.maximum


@given(grids(), loads, loads)
def test_snap_is_monotone(grid: Grid, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert grid.snap(low) <= grid.snap(high)


@given(grids(), st.floats(0, 1))
def test_snap_is_within_half_a_step(grid: Grid, share: float) -> None:
    load = min(grid.minimum + share * (grid.maximum - grid.minimum), grid.maximum)
    step = 1 if grid.kind == "users" else 10.0 ** (math.floor(math.log10(load)) - 2)
    assert abs(grid.snap(load) - load) <= step / 2 * (1 + 1e-9)


@given(grids(), loads)
def test_neighbours_are_the_nearest_points_on_either_side(grid: Grid, load: float) -> None:
    below, above = grid.below(load), grid.above(load)
    assert below < load or below == grid.minimum
    assert above > load or above == grid.maximum
    for point in (below, above):
        assert grid.minimum <= point <= grid.maximum
        assert grid.snap(point) == point
    # No point lies between a neighbour and the load: whatever does, snaps to one of the two or to the load itself.
    snapped = grid.snap(load)
    assert snapped in (below, above, load)


@given(grids(), loads)
def test_at_most_is_the_highest_point_that_is_not_above(grid: Grid, load: float) -> None:
    point = grid.at_most(load)
    assert grid.snap(point) == point
    assert point <= load or point == grid.minimum
    assert grid.above(point) > load or grid.above(point) == grid.maximum


@given(grids(), loads)
def test_above_and_below_undo_each_other(grid: Grid, load: float) -> None:
    point = grid.snap(load)
    if point < grid.maximum:
        assert grid.below(grid.above(point)) == point
    if point > grid.minimum:
        assert grid.above(grid.below(point)) == point


@given(grids(), loads)
def test_rates_have_three_digits_and_users_are_whole(grid: Grid, load: float) -> None:
    for point in {grid.snap(load), grid.below(load), grid.above(load)} - {grid.minimum, grid.maximum}:
        assert isinstance(point, int) if grid.kind == "users" else point == float(f"{point:.3g}")


def test_a_decade_is_walked_in_exact_decimals() -> None:
    grid, points = Grid.rate(9.98, 1010), [9.98]
    while points[-1] < grid.maximum:
        points.append(grid.above(points[-1]))
    assert points[:5] == [9.98, 9.99, 10.0, 10.1, 10.2]
    assert points[-3:] == [999.0, 1000.0, 1010.0]
    assert len(points) == 1804
    assert points[::-1][:-1] == [grid.above(low) for low, _ in pairwise(points)][::-1]
    assert [grid.below(high) for high in points[1:]] == points[:-1]


@pytest.mark.parametrize(
    ("grid", "load", "below", "snap", "above"),
    [
        (Grid.rate(1, 1000), 65.5, 65.4, 65.5, 65.6),
        (Grid.rate(1, 1000), 65.53, 65.5, 65.5, 65.6),
        (Grid.rate(1, 1000), 99.97, 99.9, 100.0, 100.0),
        (Grid.rate(1, 1000), 100, 99.9, 100.0, 101.0),
        (Grid.rate(1, 100.3), 100.2, 100.0, 100.0, 100.3),
        (Grid.rate(1, 100.3), 400, 100.3, 100.3, 100.3),
        (Grid.rate(2.345, 9), 2.345, 2.345, 2.345, 2.35),
        (Grid.rate(2.345, 9), 2.35, 2.345, 2.35, 2.36),
        (Grid.users(1, 50), 7, 6, 7, 8),
        (Grid.users(1, 50), 7.4, 7, 7, 8),
        (Grid.users(1, 50), 0.2, 1, 1, 1),
        (Grid.users(1, 50), 50, 49, 50, 50),
        (Grid.users(3, 3), 3, 3, 3, 3),
    ],
)
def test_points(grid: Grid, load: float, below: float, snap: float, above: float) -> None:
    assert (grid.below(load), grid.snap(load), grid.above(load)) == (below, snap, above)


def test_impossible_ranges_are_refused() -> None:
    for minimum, maximum in ((0, 1), (-1, 1), (2, 1), (1, math.inf), (math.nan, 1)):
        with pytest.raises(ValueError, match="0 < minimum <= maximum"):
            Grid.rate(minimum, maximum)
    with pytest.raises(ValueError, match="users are whole"):
        Grid("users", 1, 2.5)
