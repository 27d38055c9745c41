"""Find the capacity of a model server from recorded requests.

    locust -f locustfiles/quickstart.py --headless

Without --host a small demo model server is started beside the test, and ended with it. With --host, the trace goes to
your own server: make one of your own requests first (docs/reference/trace-format.md).
"""

from locust import events

from locust_adaptive import AdaptiveShape, ReplayUser
from locust_adaptive.demo.process import DemoServer


class Capacity(AdaptiveShape):
    slo = "p99<250ms & errors<1%"
    adaptive_precision = "10%"  # a quick start: a first answer in minutes; the default is 7%


class Ranker(ReplayUser):
    trace = "../traces/demo.trace"
    arrivals = "poisson"  # the capacity of the demo is known for these


@events.init.add_listener
def start_demo(environment, **_):
    worker = environment.parsed_options is not None and environment.parsed_options.worker
    if environment.host is None and not worker:
        server = DemoServer().start()
        environment.host = server.url
        environment.events.quitting.add_listener(lambda **_: server.stop())
