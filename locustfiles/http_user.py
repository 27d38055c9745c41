"""An ordinary Locust file made adaptive: the import and the three lines of `Capacity` are all that was added.

    locust -f locustfiles/http_user.py --headless -H http://127.0.0.1:8000

HttpUser waits for each answer (closed loop), so the capacity is a number of users.
"""

from locust import HttpUser, task

from locust_adaptive import AdaptiveShape


class Capacity(AdaptiveShape):
    slo = "p99<250ms & errors<1%"


class Visitor(HttpUser):
    def on_start(self):
        self.item = 0

    @task(3)
    def rank(self):
        self.item += 1
        self.client.post("/v1/rank", json={"user": self.item % 50, "items": [1, 2, 3]}, name="rank")

    @task(1)
    def health(self):
        with self.client.get("/v1/health", name="health", catch_response=True) as response:
            if response.status_code != 200:
                response.failure("not healthy")
