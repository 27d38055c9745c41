import json

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from locust_adaptive.report.again import POLICIES, decide_again
from locust_adaptive.report.block import block
from locust_adaptive.report.codec import event_from_plain, event_to_plain
from locust_adaptive.report.fold import fold
from locust_adaptive.report.journal import VERSION, Header, JournalError, JournalWriter, as_travelled, read
from locust_adaptive.report.result import result, to_json
from locust_adaptive.search.controller import Controller
from locust_adaptive.search.events import (
    CohortArrived,
    Done,
    FlowArrived,
    Hold,
    Judged,
    Stopped,
    TimePassed,
    WorkersChanged,
)
from locust_adaptive.search.grid import Grid
from locust_adaptive.search.policy import AdaptivePolicy
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.slices import Flow
from locust_adaptive.search.slo import Slo
from tests.journals.record import header_of, journal_of, live_fold
from tests.report.conftest import SEARCHES


def lines_of(search):
    return journal_of(*search).splitlines(keepends=True)


class Recorder:
    """A file and its fsync that remember the order of what was done to them."""

    def __init__(self):
        self.calls = []

    def write(self, text):
        self.calls.append(text)

    def flush(self):
        self.calls.append("flush")

    def fsync(self):
        self.calls.append("fsync")


def test_what_workers_took_along_is_in_the_journal_where_it_is_anything():
    for event in (WorkersChanged(1.5, 2, 7), WorkersChanged(1.5, 2)):
        plain = event_to_plain(event)
        assert event_from_plain(plain) == event
        assert ("lost" in plain) == bool(event.lost)


# -- law 3 -----------------------------------------------------------------------------------------------------------


def test_a_journal_folds_to_the_run_itself(search):
    settings, run = search
    facts = fold(read(lines_of(search)))
    assert facts.header.settings == settings
    assert facts.trials == run.controller.trials
    assert facts.stalls == run.controller.stalls
    assert facts.conclusion == run.conclusion
    assert to_json(result(facts)) == to_json(result(live_fold(settings, run)))


def test_folding_runs_neither_controller_nor_policy(search, monkeypatch):
    lines = lines_of(search)

    def forbidden(*_args, **_kwargs):
        raise AssertionError("a fold decides nothing")

    for cls in (Controller, AdaptivePolicy):
        for name in ("__init__", "step", "ask", "give_up"):
            if hasattr(cls, name):
                monkeypatch.setattr(cls, name, forbidden)
    assert block(result(fold(read(lines))))


def test_deciding_again_gives_the_same_commands(search):
    assert decide_again(read(lines_of(search))) is None


def events_for(search, changes):
    """The events of a search with changes `(place, kind, seconds)`: more time, other workers, silence, a stop."""
    events = [event for event, _ in search[1].log]
    for place, kind, seconds in sorted(changes, reverse=True):
        at = place % (len(events) - 1) + 1
        t = events[at - 1].t
        if kind == "time":
            gap = max(events[at].t - t, 0.0)
            events[at:at] = [TimePassed(t + gap * i / 5) for i in range(1, 5)]
        elif kind == "workers":
            events.insert(at, WorkersChanged(t, 1))
        elif kind == "stop":
            events.insert(at, Stopped(t, "the user pressed Stop"))
        else:
            silent = [e for e in events[at:] if not (isinstance(e, FlowArrived | CohortArrived) and e.t < t + seconds)]
            events[at:] = silent
    return events


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2000), st.sampled_from(["time", "time", "workers", "stop", "silence"]), st.floats(1, 20)
        ),
        max_size=6,
    )
)
@examples(max_examples=80, deadline=None)
def test_time_that_passed_without_a_consequence_need_not_be_recorded(changes):
    """Law 3 holds for a journal that leaves it out, whatever else happens."""
    search = SEARCHES["stalls" if len(changes) == 1 else "ceiling"]()
    settings = search[0]
    controller = Controller(settings, AdaptivePolicy(settings))
    file = Recorder()
    writer = JournalWriter(file, header_of(*search), file.fsync)
    for event in events_for(search, changes):
        writer.write(event, controller.step(event))
    journal = read("".join(c for c in file.calls if c not in ("flush", "fsync")).splitlines())
    assert not any(isinstance(step.event, TimePassed) and not step.commands for step in journal.steps)
    assert decide_again(journal) is None
    facts = fold(journal)
    assert (facts.trials, facts.stalls, facts.conclusion) == (controller.trials, controller.stalls, controller.done)


def test_a_difference_names_the_line_and_both_commands(short):
    lines = lines_of(short)
    number = next(n for n, line in enumerate(lines, start=1) if '"hold","probe":3' in line)
    lines[number - 1] = lines[number - 1].replace('"load":8.0', '"load":9.0')
    difference = decide_again(read(lines))
    assert difference is not None
    assert difference.line <= number
    assert '"load":9.0' in difference.recorded
    assert '"load":8.0' in difference.decided
    assert "recorded" in str(difference)
    assert f"line {difference.line}" in str(difference)


def test_a_command_too_many_or_too_few_is_a_difference(short):
    lines = lines_of(short)
    number = next(n for n, line in enumerate(lines) if '"hold","probe":3' in line)
    without = decide_again(read(lines[:number] + lines[number + 1 :]))
    assert (without.recorded, json.loads(without.decided)["probe"]) == (None, 3)
    twice = decide_again(read([*lines[: number + 1], *lines[number:]]))
    assert (twice.decided, json.loads(twice.recorded)["probe"]) == (None, 3)


def test_an_unknown_policy_version_is_said_and_the_rest_still_reads(short):
    lines = lines_of(short)
    lines[0] = lines[0].replace('"policy":["adaptive",', '"policy":["adaptive",9')
    journal = read(lines)
    with pytest.raises(
        JournalError, match=r"policy adaptive 9\d+, and this package has adaptive \d.*locust-adaptive 0"
    ):
        decide_again(journal)
    assert fold(journal).conclusion == short[1].conclusion


def test_another_policy_can_be_given(short):
    _, run = short

    class Timid(AdaptivePolicy):
        def ask(self, trials, now, stalls):
            return self.give_up(trials, stalls, "unresolved", "budget_spent")

    difference = decide_again(read(lines_of(short)), {next(iter(POLICIES)): Timid})
    assert isinstance(run.log[0][1][0], Hold)
    assert '"command":"done"' in difference.decided


# -- writing ---------------------------------------------------------------------------------------------------------


def test_each_step_is_flushed_and_each_verdict_synced(short):
    settings, run = short
    file = Recorder()
    writer = JournalWriter(file, header_of(settings, run), file.fsync)
    assert file.calls[1:] == ["flush", "fsync"]
    for event, commands in run.log:
        file.calls.clear()
        writer.write(event, commands)
        if isinstance(event, TimePassed) and not commands:
            assert file.calls == []
            continue
        judged = any(isinstance(c, Judged | Done) for c in commands)
        assert file.calls[1:] == ["flush", *(["fsync"] if judged else [])]
        assert file.calls[0].count("\n") == 1 + len(commands)
        assert file.calls[0].isascii()


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(FINITE, FINITE, st.floats(0.1, 1e4), st.text(), st.integers(0, 2**40))
def test_what_is_written_reads_back_exactly(t, x, load, reason, n):
    settings = Settings(Slo.parse("p99{a b}<37us"), "open", Grid.rate(load, load * 1.7), load, precision=abs(x))
    file = Recorder()
    writer = JournalWriter(file, Header(settings, "mine", 3, "then", "recorded", {"a": x}, {"b": reason}), file.fsync)
    flow = Flow(3, span=0.123456, arrivals={4: n}, area=0.333333, open=-1)
    events = [FlowArrived(t, n, flow), Stopped(x, reason), TimePassed(t)]
    for event in events:
        writer.write(event, [Hold(n, load, "ramp")])
    journal = read("".join(c for c in file.calls if c not in ("flush", "fsync")).splitlines())
    assert journal.header == Header(settings, "mine", 3, "then", "recorded", {"a": x}, {"b": reason})
    assert [step.event for step in journal.steps] == events
    assert all(step.commands == [Hold(n, load, "ramp")] for step in journal.steps)


def test_a_flow_is_told_as_it_will_be_read():
    event = FlowArrived(1.0, 1, Flow(0, area=1 / 3, cpu=2 / 3))
    assert as_travelled(event).flow == Flow(0, area=0.333333, cpu=0.666667)
    assert as_travelled(as_travelled(event)) == as_travelled(event)
    assert as_travelled(TimePassed(1 / 3)) == TimePassed(1 / 3)


def test_notes_of_the_shell_are_kept(short):
    settings, run = short
    file = Recorder()
    writer = JournalWriter(file, header_of(settings, run), file.fsync)
    writer.note("grpc clients are seen by the age of their tasks only")
    journal = read(c for c in file.calls if c not in ("flush", "fsync"))
    assert result(fold(journal))["notes"] == ["grpc clients are seen by the age of their tasks only"]


# -- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "stride"), [("unfit", 1), ("stalls", 101), ("closed", 101)])
def test_a_journal_cut_anywhere_in_its_last_two_lines_still_reads(name, stride):
    settings, run = SEARCHES[name]()
    text = journal_of(settings, run)
    start = text.rindex("\n", 0, text.rindex("\n", 0, len(text) - 1)) + 1
    whole = [i + 1 for i in range(len(text)) if text[i] == "\n"]
    for cut in range(start, len(text), stride):
        journal = read(text[:cut].splitlines(keepends=True))
        ended = cut in whole or cut + 1 in whole  # a line that lacks only its newline says all it has to say
        assert (journal.torn is None) == ended
        facts = fold(journal)
        assert facts.trials == run.controller.trials[: len(facts.trials)]
        assert len(facts.trials) >= len(run.controller.trials) - 1
        outcome = result(facts)
        if not journal.finished:
            assert (outcome["verdict"], outcome["reason"]) == ("aborted", "journal_ends")
        assert ("journal_torn" in outcome["notes"]) == (not ended)
    # Costly, so at a few places only.
    for cut in range(start, len(text), max((len(text) - start) // 3, 1)):
        journal = read(text[:cut].splitlines(keepends=True))
        assert decide_again(journal) is None
        assert ("journal_ends" in block(result(fold(journal)))) == (not journal.finished)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda line: line[: len(line) // 2] + "\n", "no JSON"),
        (lambda line: "\x00" * 20 + "\n", "no JSON"),
        (lambda line: "[]\n", "neither event"),
        (lambda line: "7\n", "TypeError"),
        (lambda line: '{"event":"flow","t":1.0}\n', "KeyError: 'probe'"),
        (lambda line: '{"event":"surprise","t":1.0}\n', "unknown event 'surprise'"),
        (lambda line: '{"command":"surprise"}\n', "unknown command 'surprise'"),
    ],
)
def test_a_damaged_line_in_the_middle_is_named(short, damage, message):
    lines = lines_of(short)
    lines[41] = damage(lines[41])
    with pytest.raises(JournalError, match=rf"line 42 of the journal is damaged \(.*{message}"):
        read(lines)


def test_a_lost_line_is_noticed_at_the_verdict_it_belongs_to(short):
    lines = lines_of(short)
    lost = next(n for n, line in enumerate(lines) if '"event":"flow"' in line and '"probe":1,' in line)
    with pytest.raises(JournalError, match="slices of probe 1 are missing"):
        read(lines[:lost] + lines[lost + 1 :])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "empty"),
        (["\n"], "empty"),
        (["hello\n"], "line 1 is no journal header: 'hello'"),
        (['{"event":"time","t":1}\n'], "no journal header"),
        (['{"journal":1'], "no journal header"),
        (['{"journal":1}\n'], "line 1 of the journal is damaged"),
        (
            [f'{{"journal":{VERSION + 1},"package":"9.1"}}\n'],
            rf"version {VERSION + 1}, written by locust-adaptive 9.1; this is .* reads up to version {VERSION}",
        ),
    ],
)
def test_what_is_no_journal_is_refused(lines, message):
    with pytest.raises(JournalError, match=message):
        read(lines)


def test_details_are_for_readers_and_change_nothing(short):
    lines = lines_of(short)
    detailed = [lines[0]]
    for line in lines[1:]:
        detailed += [line, '{"detail":"worker","worker":"w0","anything":[1,2]}\n']
    assert fold(read(detailed)).trials == short[1].controller.trials
    assert decide_again(read(detailed)) is None
