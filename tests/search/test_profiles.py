"""The profiles: the standard one is the default, and each next one asks for more."""

from itertools import pairwise

import pytest

from locust_adaptive.search.grid import Grid
from locust_adaptive.search.profiles import PROFILES, STANDARD
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.slo import Slo


def settings(**more: float) -> Settings:
    return Settings(Slo.parse("p99<250ms"), "open", Grid.rate(0.5, 500), 2.0, **more)


def test_the_standard_profile_is_the_default() -> None:
    assert settings(**PROFILES[STANDARD]) == settings()


def test_each_next_profile_is_narrower_and_longer() -> None:
    for quick, slow in pairwise(PROFILES.values()):
        assert quick.keys() == slow.keys()
        assert quick["precision"] > slow["precision"]
        assert quick["dwells"] < slow["dwells"]
        assert quick["soak_s"] < slow["soak_s"]


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("prior", [None, 81.5])
def test_settings_travel_with_the_profile_and_the_prior(name: str, prior: float | None) -> None:
    before = settings(**PROFILES[name], prior=prior)
    assert Settings.from_plain(before.to_plain()) == before
    assert before.to_plain()["prior"] == prior


def test_settings_of_a_journal_from_before_there_were_profiles_are_the_defaults() -> None:
    plain = settings().to_plain()
    del plain["dwells"], plain["prior"]
    assert Settings.from_plain(plain) == settings()
