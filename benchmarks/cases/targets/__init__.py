"""Real model servers on loopback, started and ended as one: `with Served("triton", core=1) as server: server.url`."""

from .catalogue import TARGETS, Target
from .launcher import NotServed, Served, elsewhere

__all__ = ["TARGETS", "NotServed", "Served", "Target", "elsewhere"]
