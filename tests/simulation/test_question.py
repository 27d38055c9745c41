import pytest

from locust_adaptive.search.grid import Grid
from locust_adaptive.search.profiles import PROFILES
from locust_adaptive.search.settings import Settings
from locust_adaptive.search.slo import Slo
from locust_adaptive.simulation.question import seeds, settings

SLO = "p99<250ms"


def test_what_is_not_given_is_as_usual():
    assert settings({"slo": SLO}) == Settings(Slo.parse(SLO), "open", Grid.rate(0.1, 10_000), 2.0)
    assert settings({"slo": SLO, "mode": "closed"}) == Settings(Slo.parse(SLO), "closed", Grid.users(1, 1000), 1.0)


def test_everything_can_be_given():
    texts = {
        "slo": SLO,
        "min": "3",
        "start": "5",
        "max": "500",
        "precision": "10%",
        "soak": "1m",
        "spike_tolerance": "0",
        "prior": "70",
        "budget": "90s",
    }
    assert settings(texts) == Settings(
        Slo.parse(SLO),
        "open",
        Grid.rate(3, 500),
        5.0,
        budget_s=90.0,
        precision=0.1,
        soak_s=60.0,
        spike_tolerance=0.0,
        prior=70.0,
    )


def test_the_lowest_and_the_first_load_follow_the_highest():
    narrow = settings({"slo": SLO, "max": "0.05"})
    assert (narrow.grid.minimum, narrow.start) == (0.05, 0.05)
    assert settings({"slo": SLO, "min": "30"}).start == 30


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_stands_in_for_what_is_not_given(profile):
    found = settings({"slo": SLO, "profile": profile, "soak": "7s"})
    assert (found.precision, found.dwells) == (PROFILES[profile]["precision"], PROFILES[profile]["dwells"])
    assert found.soak_s == 7


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"slo": " "}, "what must the server hold"),
        ({"slo": "p99<"}, "p99<"),
        ({"slo": "gpu.memory<90%"}, "has no gpu.memory"),
        ({"slo": "p99{/rank}<1s"}, "leave {/rank} out"),
        ({"slo": "rps>=5"}, "no term of it can fail a load"),
        ({"mode": "half"}, "--mode 'half': must be open or closed"),
        ({"max": "0"}, "--max '0': must be a number above 0"),
        ({"mode": "closed", "max": "1.5"}, "--max '1.5': must be a whole number"),
        ({"min": "9", "max": "8"}, "--min 9 is above --max 8"),
        ({"start": "9", "max": "8"}, "--start 9 is not within"),
        ({"prior": "9", "max": "8"}, "--prior 9 is not within"),
        ({"precision": "0"}, "--precision '0': must be above 0"),
        ({"spike_tolerance": "100%"}, "--spike-tolerance '100%'"),
        ({"budget": "soon"}, "--budget 'soon': is not a time"),
        ({"profile": "slow"}, "--profile 'slow': is none of fast, standard, thorough"),
    ],
)
def test_a_mistake_is_named(more, says):
    with pytest.raises(ValueError, match=says):
        settings({"slo": SLO, **more})


def test_seeds_follow_one_another():
    assert seeds({}) == range(1, 2)
    assert seeds({"seed": "0", "runs": "3"}) == range(3)
    with pytest.raises(ValueError, match="--runs 'many'"):
        seeds({"runs": "many"})
