"""The ready-made shape: `from locust_adaptive.shapes import CapacitySearch` in a locustfile that wants no class of
its own.

Its SLO comes from `--slo`.
"""

from .plugin.shape import AdaptiveShape


class CapacitySearch(AdaptiveShape):
    """Searches the capacity of whatever user classes the locustfile has."""
