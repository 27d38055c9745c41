"""The recorded searches of this folder, simulated. They stand for journals in the wild: a later version must still fold
and render each, and decide it again as long as it has the policy version that the journal names.

Record them again (`python -m tests.journals.record`) only while the policy version they name is not released; after
that, a policy that decides otherwise gets a new version, and new journals beside these.
"""

import io
from pathlib import Path

from locust_adaptive.report.fold import Fold
from locust_adaptive.report.journal import Header, JournalWriter
from locust_adaptive.search.grid import Grid
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.slo import Slo
from locust_adaptive.simulation.search import Run, simulate
from locust_adaptive.simulation.server import Server

FOLDER = Path(__file__).parent
QUICK = Slo.parse("p99<250ms & errors<1%")
SLOW = Slo.parse("p95<1s & p50<600ms (flag) & errors<1%")


def ceiling() -> tuple[Settings, Run]:
    settings = Settings(QUICK, "open", Grid.rate(0.5, 20), 2.0)
    return settings, simulate(settings, Server(base=0.02), seed=2)


def closed() -> tuple[Settings, Run]:
    settings = Settings(QUICK, "closed", Grid.users(1, 100), 2.0)
    return settings, simulate(settings, Server(base=0.05, workers=2), seed=1)


def stalls() -> tuple[Settings, Run]:
    settings = Settings(SLOW, "open", Grid.rate(0.5, 100), 2.0, budget_s=240)
    return settings, simulate(settings, Server(base=0.09, pauses=(1.6, 2.0, 40)), seed=3, workers=2)


RECORDED = {"ceiling": ceiling, "closed": closed, "stalls": stalls}


def header_of(settings: Settings, run: Run) -> Header:
    arrivals = "poisson" if settings.loop == "open" else None
    started = "2026-11-22T10:15:00Z"
    environment, options = {"host": "http://model:8000"}, {"slo": str(settings.slo)}
    return Header.of(
        settings, run.controller.policy, started, arrivals=arrivals, environment=environment, options=options
    )


def journal_of(settings: Settings, run: Run) -> str:
    """The journal of a simulated run, as text."""
    file = io.StringIO()
    writer = JournalWriter(file, header_of(settings, run), fsync=lambda: None)
    for event, commands in run.log:
        writer.write(event, commands)
    return file.getvalue()


def live_fold(settings: Settings, run: Run) -> Fold:
    """What a live run folds beside its journal."""
    facts = Fold(header_of(settings, run))
    for event, commands in run.log:
        facts.add(event, commands)
    return facts


if __name__ == "__main__":
    for name, search in RECORDED.items():
        (FOLDER / f"{name}.jsonl").write_text(journal_of(*search()))
