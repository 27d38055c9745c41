"""Capacity of Triton with a vision model and a ranker, from a trace of both.

python -m benchmarks.cases.traces
python -m benchmarks.cases.targets triton --port 8000 --core 1
locust -f benchmarks/cases/locustfiles/against_triton.py --headless -H http://127.0.0.1:8000
"""

from locust_adaptive import AdaptiveShape, ReplayUser


class Capacity(AdaptiveShape):
    slo = "p99<250ms & errors<1%"
    adaptive_max = 1000


class Client(ReplayUser):
    trace = "../../../build/cases/triton.trace"
    arrivals = "poisson"  # without it as recorded, in bursts: that takes a search longer
