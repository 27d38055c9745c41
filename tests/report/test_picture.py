import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.report.numbers import number
from locust_adaptive.report.picture import MARKS, levels, picture, plain
from locust_adaptive.report.result import result
from tests.journals.record import live_fold

LOADS = st.lists(st.floats(0.1, 10_000), min_size=1, max_size=60)


@pytest.fixture
def outcome(search):
    return result(live_fold(*search))


def body(text):
    """The rows of loads: what is above the axis of time."""
    return [line for line in text.splitlines() if set("│┃") & set(line) and "within" not in line]


def test_each_load_has_a_row_and_each_probe_its_mark(outcome):
    rows = body(picture(outcome, rows=1000))
    for trial in outcome["trials"]:
        (row,) = [row for row in rows if row.split()[0] == number(trial["load"]) and "capacity" not in row]
        assert MARKS[trial["verdict"]] in row
    shown = sum(row.count(mark) for row in rows for mark in MARKS.values())
    assert shown <= len(outcome["trials"])
    known = outcome["capacity"]["value"] is not None
    assert len(rows) == len({t["load"] for t in outcome["trials"]}) + known


def test_loads_fall_from_the_top(outcome):
    loads = [float(row.split()[0]) for row in body(picture(outcome, rows=1000))]
    assert loads == sorted(loads, reverse=True)


@pytest.mark.parametrize(("width", "rows"), [(100, 24), (60, 5)])
def test_it_keeps_to_its_size(outcome, width, rows):
    text = picture(outcome, width, rows)
    assert max(map(len, text.splitlines())) <= width
    assert len(body(text)) <= rows + 1


def test_it_can_be_ascii(outcome):
    text = picture(outcome)
    assert not text.isascii()
    assert plain(text).isascii()
    assert len(plain(text)) == len(text)


def test_the_interval_is_marked(outcome):
    low, high = outcome["capacity"]["low"], outcome["capacity"]["high"]
    for row in body(picture(outcome, rows=1000)):
        if "capacity" not in row:
            load = float(row.split()[0])
            known = outcome["capacity"]["value"] is not None and low is not None and high is not None
            assert ("┃" in row) == (known and low <= load <= high)


def test_stalls_stand_below_the_time(outcome):
    (below,) = [line for line in picture(outcome).splitlines() if set(line) == {" ", "▲"}] or [""]
    assert bool(below) == bool(outcome["stalls"])
    assert below.count("▲") <= len(outcome["stalls"])


def test_without_probes_there_is_no_picture(outcome):
    assert picture({**outcome, "trials": []}) == ""


@given(LOADS, st.integers(1, 30), st.none() | st.floats(0.1, 10_000))
def test_levels_share_out_the_loads(loads, most, answer):
    groups = levels(loads, most, answer)
    assert [load for group in groups for load in group] == sorted(set(loads), reverse=True)
    assert len(groups) == min(most, len(set(loads)))


def test_loads_close_to_the_answer_stay_apart():
    assert levels([2, 2.1, 100, 102], 3, answer=101) == [[102], [100], [2.1, 2]]
    assert levels([2, 2.1, 100, 102], 3) == [[102, 100], [2.1], [2]]
