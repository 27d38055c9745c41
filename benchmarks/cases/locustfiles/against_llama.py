"""Capacity of the server of llama.cpp, from a trace of conversations.

python -m benchmarks.cases.traces
python -m benchmarks.cases.targets llama --port 8000 --core 1
locust -f benchmarks/cases/locustfiles/against_llama.py --headless -H http://127.0.0.1:8000
"""

from locust_adaptive import AdaptiveShape, ReplayUser


class Capacity(AdaptiveShape):
    slo = "p95<2s & errors<1%"
    adaptive_max = 100


class Client(ReplayUser):
    trace = "../../../build/cases/llama.trace"
    arrivals = "poisson"  # without it as recorded, in bursts: that takes a search longer
