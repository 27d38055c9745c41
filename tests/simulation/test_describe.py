import pytest
from hypothesis import given
from hypothesis import strategies as st

from locust_adaptive.simulation.arrivals import Bursts
from locust_adaptive.simulation.describe import OPTIONS, Target, arguments, parse
from locust_adaptive.simulation.mischief import Mischief
from locust_adaptive.simulation.server import Server

POSITIVE = st.floats(1e-6, 1e6)
SHARE = st.floats(1e-6, 1, exclude_max=True)
COUNT = st.integers(1, 10**6)


def maybe(*parts):
    return st.none() | st.tuples(*parts)


def of_one(target: Target) -> bool:
    """Is it one that a person can describe?"""
    server = target.server
    steady = server.beat is None or server.beat[0] < server.beat[1]
    ordered = server.pauses is None or server.pauses[0] <= server.pauses[1]
    scaled = server.scale is None or server.scale[0] >= server.workers
    return (
        steady and ordered and scaled and (server.batch > 1 or not server.delay) and not (server.beat and server.pauses)
    )


TARGETS = st.builds(
    Target,
    st.builds(
        Server,
        workers=COUNT,
        base=POSITIVE,
        per_request=POSITIVE,
        batch=COUNT,
        delay=POSITIVE,
        sigma=st.floats(0, 3),
        queue=COUNT,
        cold=maybe(POSITIVE, POSITIVE),
        pauses=maybe(POSITIVE, POSITIVE, POSITIVE),
        beat=maybe(POSITIVE, POSITIVE),
        tenant=maybe(POSITIVE, POSITIVE, POSITIVE),
        drift=maybe(SHARE, POSITIVE),
        leak=SHARE,
        bimodal=maybe(SHARE, POSITIVE),
        modes=maybe(POSITIVE, SHARE, POSITIVE),
        metastable=maybe(SHARE, POSITIVE),
        scale=maybe(COUNT, SHARE, POSITIVE),
    ),
    st.none()
    | st.builds(Mischief, mode=st.just("http 503"), share=SHARE)
    | st.builds(Mischief, mode=st.just("http 429"), above=POSITIVE)
    | st.builds(Mischief, gone=st.tuples(st.floats(1, 9), st.floats(10, 99))),
    st.none() | st.builds(Bursts, POSITIVE, POSITIVE, POSITIVE),
).filter(of_one)


def read(text: str) -> dict[str, str]:
    """The options of a command line."""
    words = text.split()
    return {name[2:].replace("-", "_"): value for name, value in zip(words[::2], words[1::2], strict=True)}


@given(TARGETS)
def test_text_and_target_are_inverse(target):
    text = arguments(target)
    assert parse(read(text)) == target
    assert arguments(parse(read(text))) == text


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("--service 13ms", Server(base=0.013)),
        ("--service 13ms --workers 2 --sigma 0", Server(2, 0.013, sigma=0.0)),
        ("--service 30ms --batch 16 --batch-delay 5ms --per-request 2ms", Server(1, 0.03, 0.002, 16, 0.005)),
        ("--service 1s --cold 3x:1m", Server(base=1.0, cold=(3.0, 60.0))),
        ("--service 1s --pauses 1s:45s", Server(base=1.0, beat=(1.0, 45.0))),
        ("--service 1s --pauses 0.5s..2s:60s", Server(base=1.0, pauses=(0.5, 2.0, 60.0))),
        ("--service 1s --tenant 1.3x:12s:28s", Server(base=1.0, tenant=(1.3, 12.0, 28.0))),
        ("--service 1s --drift 15%:200s --leak 30%", Server(base=1.0, drift=(0.15, 200.0), leak=0.3)),
        ("--service 1s --bimodal 5%:8x", Server(base=1.0, bimodal=(0.05, 8.0))),
        ("--service 1s --modes 1.15x:40%:20s", Server(base=1.0, modes=(1.15, 0.4, 20.0))),
        ("--service 1s --queue 9 --metastable 20%:1.6", Server(base=1.0, queue=9, metastable=(0.2, 1.6))),
        ("--service 1s --workers 2 --scale 3:80%:60s", Server(2, 1.0, scale=(3, 0.8, 60.0))),
    ],
)
def test_a_server_is_read(text, server):
    assert parse(read(text)) == Target(server)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("--errors 0.5%", Target(Server(base=1.0), Mischief("http 503", share=0.005))),
        ("--rate-limit 120", Target(Server(base=1.0), Mischief("http 429", above=120.0))),
        ("--gone 150s..158s", Target(Server(base=1.0), Mischief(gone=(150.0, 158.0)))),
        ("--bursts 3x:0.5s:2s", Target(Server(base=1.0), None, Bursts(3.0, 0.5, 2.0))),
    ],
)
def test_what_goes_wrong_and_how_traffic_comes_is_read(text, target):
    assert parse(read(f"--service 1s {text}")) == target


def test_blank_is_not_given():
    assert parse({"service": " 13ms ", **{name: " " for name in OPTIONS if name != "service"}}).server.base == 0.013


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("--workers 2", "--service 13ms"),
        ("--service fast", r"--service 'fast': is not a time"),
        ("--service 1s --workers 1.5", r"--workers '1.5': must be a whole number"),
        ("--service 1s --sigma -1", r"--sigma '-1': must be a number from 0"),
        ("--service 1s --sigma nan", r"--sigma 'nan': must be a number from 0"),
        ("--service 1s --cold 3x", r"--cold '3x': must be factor:time, such as 3x:60s"),
        ("--service 1s --cold 3x:60s:1s", "must be factor:time"),
        ("--service 1s --cold 0x:60s", r"the factor '0x' must be a number above 0"),
        ("--service 1s --drift 200%:60s", r"--drift '200%:60s': the share '200%' must be a share"),
        ("--service 1s --pauses 3s:2s", "must be shorter"),
        ("--service 1s --pauses 3s..2s:9s", "ends before it begins"),
        ("--service 1s --gone 150s", "is not a range of times"),
        ("--service 1s --workers 4 --scale 3:80%:60s", "there are 4 workers"),
        ("--service 1s --batch-delay 5ms", "say with --batch"),
        ("--service 1s --errors 1% --rate-limit 9", "leave one out"),
        ("--service 1s --bursts 3x:1s", "must be factor:time:time"),
    ],
)
def test_a_mistake_is_named(text, says):
    with pytest.raises(ValueError, match=says):
        parse(read(text))


@pytest.mark.parametrize("text", ["--queue 3", "--errors 1%", "--rate-limit 9", "--gone 1s..2s", "--bursts 3x:1s:2s"])
def test_what_a_closed_loop_cannot_have_is_refused(text):
    options = read(f"--service 1s {text}")
    parse(options)
    with pytest.raises(ValueError, match=f"{text.split()[0]} is for --mode open"):
        parse(options, closed=True)
