"""A FastHttpUser in open loop: arrivals do not wait for answers, and the capacity is a rate.

locust -f locustfiles/open_loop.py --headless -H http://127.0.0.1:8000
"""

from locust import FastHttpUser, task

from locust_adaptive import AdaptiveShape, OpenLoop


class Capacity(AdaptiveShape):
    slo = "p99<250ms & errors<1%"


class Ranker(OpenLoop, FastHttpUser):
    @task
    def rank(self):
        self.client.post("/v1/rank", json={"user": 7, "items": [1, 2, 3]}, name="rank")
