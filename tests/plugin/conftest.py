import pytest

from locust_adaptive.plugin.signals import SignalWatch


@pytest.fixture(autouse=True)
def _signals_are_pytests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the tests, and not a search in one of them."""
    monkeypatch.setattr(SignalWatch, "arm", lambda self: None)
