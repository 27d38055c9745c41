"""The only room that imports locust or gevent. Importing it connects it to Locust's events, as a locustfile expects."""

from .register import register

register()
