"""Find how much traffic a model server can take under an SLO, inside Locust.

The public names load lazily (PEP 562), so that the command line and the exporter import neither Locust nor gevent.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "AdaptiveShape": "locust_adaptive.plugin.shape",
    "OpenLoop": "locust_adaptive.plugin.openloop",
    "ReplayUser": "locust_adaptive.plugin.replayuser",
}

__all__ = ["AdaptiveShape", "OpenLoop", "ReplayUser", "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
