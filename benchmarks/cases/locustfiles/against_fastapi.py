"""Capacity of FastAPI with a vision model in onnxruntime, from a trace of pictures.

python -m benchmarks.cases.traces
python -m benchmarks.cases.targets fastapi --port 8000 --core 1
locust -f benchmarks/cases/locustfiles/against_fastapi.py --headless -H http://127.0.0.1:8000
"""

from locust_adaptive import AdaptiveShape, ReplayUser


class Capacity(AdaptiveShape):
    slo = "p99<250ms & errors<1%"
    adaptive_max = 1000


class Client(ReplayUser):
    trace = "../../../build/cases/fastapi.trace"
    arrivals = "poisson"  # without it as recorded, in bursts: that takes a search longer
