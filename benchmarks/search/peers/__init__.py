"""The tools that we compare ourselves with, each from its documented behaviour: one file a tool.

`PEERS`: what to run, by the name of its row. `ASSUMPTIONS`: what was assumed for a tool, by the tool's name; a tool may
have several rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..bench import Bench
from . import aiperf, bisection, guidellm, loadgen, ml_loadtest, mlrsearch, perf_analyzer, ramp, shared

PEERS: dict[str, Callable[[Bench], float | None]] = {
    "ramp": ramp.search,
    "perf-analyzer": perf_analyzer.search,
    "perf-analyzer-s9999": partial(perf_analyzer.search, stability=99.99, arrivals="poisson"),
    "loadgen-10s": loadgen.search,
    "loadgen-60s": partial(loadgen.search, seconds=60.0),
    "mlrsearch": mlrsearch.search,
    "mlrsearch-tuned": partial(mlrsearch.search, tuned=True),
    "mlrsearch-tuned-warm": partial(mlrsearch.search, tuned=True, warm_up_s=120.0),
    "ml-loadtest": ml_loadtest.search,
    "aiperf-monotonic": aiperf.search,
    "aiperf-monotonic-warm": partial(aiperf.search, first_warm_up_s=60.0, warm_up_s=30.0),
    "guidellm": guidellm.search,
    "bisection-10s": bisection.search,
    "bisection-30s": partial(bisection.search, seconds=30.0),
    "bisection-10s-undrained": partial(bisection.search, drained=False),
}

ASSUMPTIONS: dict[str, tuple[str, ...]] = {"every tool": shared.ASSUMPTIONS} | {
    tool.NAME: tool.ASSUMPTIONS
    for tool in (ramp, perf_analyzer, loadgen, mlrsearch, ml_loadtest, aiperf, guidellm, bisection)
}
