"""Trials of a search made up for a test, and what was asked of it."""

from locust_adaptive.search.grid import Grid
from locust_adaptive.search.settings import Loop, Settings
from locust_adaptive.search.slices import Flow
from locust_adaptive.search.slo import Slo
from locust_adaptive.search.trial import Measurement, Purpose, Trial, Verdict
from tests.support.trials import BIN_S, measurement, trial

PASS, FAIL, UNDECIDED = Verdict.PASS, Verdict.FAIL, Verdict.UNDECIDED
SAME, LITTLE, PLAIN, FAST = 500, 506, 550, 450
"""Buckets of the histogram: a step is 2 % of latency."""


def question(loop: Loop = "open", slo: str = "p95<100ms") -> Settings:
    grid = Grid.rate(1, 1000) if loop == "open" else Grid.users(1, 100)
    return Settings(Slo.parse(slo), loop, grid, 10)


def seen(number: int, load: float, verdict: Verdict, purpose: Purpose = Purpose.RAMP, reason: str = "") -> Trial:
    """A trial of six seconds whose counts agree with its verdict."""
    sent = max(round(load / 2), 1)
    misses = {PASS: 0, UNDECIDED: round(0.05 * sent), FAIL: sent}[verdict]
    return trial(number, load, measurement([(sent, misses)] * 12), verdict, purpose, reason, started=10.0 * number)


def overload(number: int, load: float, rate: int, purpose: Purpose = Purpose.RAMP) -> Trial:
    """Two seconds at a load of which only `rate` a second are answered."""
    flows = []
    for i in range(4):
        sent, done = round(load / 2), rate // 2
        arrivals = {b: n for b in range(50) if (n := (b + 1) * sent // 50 - b * sent // 50)}
        completions = {b: n for b in range(50) if (n := (b + 1) * done // 50 - b * done // 50)}
        flows.append(Flow(i, arrivals=arrivals, completions=completions))
    still_open = 0
    for flow in flows:
        still_open += flow.sent - flow.done
        flow.open = still_open
    return trial(number, load, Measurement(BIN_S, tuple(flows), ()), FAIL, purpose, "overload", started=10.0 * number)


def drifted() -> list[Trial]:
    """A search whose canaries differ a little, all to one side, and then looks that agree, near a load that failed."""
    canaries = [light(2, LITTLE, load=40), light(3, LITTLE + 1, load=40)]
    world = [light(1, SAME, Purpose.GATE, load=40), *canaries, overload(4, 125, 100, Purpose.LOCATE)]
    m = measurement([(44, 2)] * 60)
    dwells = [trial(5 + i, 88, m, UNDECIDED, Purpose.REFINE, started=120.0 + 20 * i) for i in range(8)]
    return [*world, *dwells]


def light(number: int, bucket: int, purpose: Purpose = Purpose.CANARY, load: float = 100, seconds: float = 8) -> Trial:
    """A probe whose answers took a bucket, give or take one."""
    m = measurement([(round(load / 2), 0)] * round(2 * seconds))
    for cohort in m.cohorts:
        sent = cohort.names["/a"].sent
        cohort.names["/a"].hist = {bucket - 1: sent // 4, bucket: sent - 2 * (sent // 4), bucket + 1: sent // 4}
    return trial(number, load, m, Verdict.PASS, purpose, started=20.0 * number)
