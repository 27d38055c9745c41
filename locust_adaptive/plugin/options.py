"""The options: one table, and the one place where their texts become values (law 9).

Every option is a string with a string default, so that the command line, the environment, a configuration file and the
web form all meet the same parser and the same message. An option stands over the shape's class attribute, which stands
over the default.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from ..search.grid import Grid
from ..search.profiles import PROFILES, STANDARD
from ..search.quantities import positive, ratio, seconds, seed, share, whole
from ..search.settings import Loop, Settings
from ..search.slo import Slo, SloError
from .prior import Prior

T = TypeVar("T")

GROUP = "locust-adaptive"


class ConfigError(ValueError):
    """What is asked for cannot be done; the message says what, where, why and what to do."""


@dataclass(frozen=True)
class Option:
    """One option. `name` is the attribute of the shape and, with dashes, the flag. `web`: may the start form set it;
    `lower only` is a cap, held against what it was when the process started."""

    name: str
    default: str
    help: str
    web: Literal["no", "lower only", "yes"] = "yes"

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def env(self) -> str:
        return "LOCUST_" + self.name.upper()


BY_PROFILE: Mapping[str, Mapping[str, str]] = {
    name: {"adaptive_precision": f"{100 * fields['precision']:g}%", "adaptive_soak": f"{fields['soak_s']:g}s"}
    for name, fields in PROFILES.items()
}
"""The texts of the options that a profile stands in for, by the name of the profile."""


def _each(name: str) -> str:
    """What an option is by each profile, in words for a help text."""
    return ", ".join(f"{profile} {texts[name]}" for profile, texts in BY_PROFILE.items()).replace("%", "%%")


OPTIONS = (
    Option("slo", "", "the SLO that the capacity must meet, e.g. 'p99<250ms & errors<1%%'; may be repeated"),
    Option("adaptive_start", "", "first load tried: arrivals/s in open loop (2), users in closed loop (1)"),
    Option(
        "adaptive_prior",
        "",
        "capacity.json of an earlier run: the search starts at half of what that found, instead of the first load",
        "no",
    ),
    Option("adaptive_min", "", "lowest load tried (0.1 arrivals/s, or 1 user)"),
    Option(
        "adaptive_max", "", "highest load ever offered (10000 arrivals/s, or 1000 users); -u lowers it", "lower only"
    ),
    Option("adaptive_profile", STANDARD, f"how sure an answer is to be, for its time: {', '.join(PROFILES)}"),
    Option(
        "adaptive_precision",
        "",
        f"half width that the 95 %% interval of the capacity must reach ({_each('adaptive_precision')})",
    ),
    Option("adaptive_soak", "", f"how long the verified load must hold the SLO ({_each('adaptive_soak')})"),
    Option("adaptive_spike_tolerance", "3%", "share of the time that stalls of the target may take and be forgiven"),
    Option("adaptive_min_capacity", "", "gate: exit 1 unless the capacity's lower end reaches this"),
    Option("adaptive_cap", "2000", "requests in flight, per worker, above which arrivals are dropped", "lower only"),
    Option("adaptive_seed", "1", "seed of the arrivals and of the order of recorded requests"),
    Option("adaptive_out", "", "folder for the results (adaptive-results/<UTC time>); never overwritten", "no"),
    Option(
        "adaptive_web_hosts",
        "",
        "names of the web UI, comma separated, besides localhost, IP addresses and the names of this machine",
        "no",
    ),
)

DEFAULT_BUDGET_S = 1200.0
DEFAULT_MAX: Mapping[Loop, float] = {"open": 10_000.0, "closed": 1000.0}
DEFAULT_CAP = 2000.0
LONGEST_TEXT = 1000
"""Characters of an option: no SLO that a person can read is longer."""


class _Joined(argparse.Action):
    """A repeated option: all texts hold."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        given = getattr(namespace, "_" + self.dest, [])
        setattr(namespace, "_" + self.dest, [*given, values])
        setattr(namespace, self.dest, " & ".join([*given, values]))


def add_arguments(parser: Any, shape_class: Any) -> None:
    """Add the options to Locust's parser, with the shape's class attributes as defaults."""
    group = parser.add_argument_group(GROUP)
    for option in OPTIONS:
        default = _text(getattr(shape_class, option.name, None)) or option.default
        extra: dict[str, Any] = {"action": _Joined} if option.name == "slo" else {}
        action = group.add_argument(
            option.flag,
            dest=option.name,
            metavar="X" if option.name != "slo" else "SLO",
            default=default,
            env_var=option.env,
            help=option.help,
            **extra,
        )
        action.include_in_web_ui = option.web != "no"


@dataclass(frozen=True)
class Plan:
    """All that a search needs to know, parsed. `unit`: load that one Locust user stands for. `arrivals`: their kind,
    None in closed loop. `doubts`: what to warn of before the search."""

    settings: Settings
    unit: float
    cap: int
    seed: int
    arrivals: str | None
    min_capacity: float | None
    out: str
    texts: dict[str, str]
    doubts: tuple[str, ...]


def resolve(shape: Any, options: Any, user_classes: Sequence[Any], max_users: int | None) -> Plan:
    """Parse everything. `max_users`: what -u asked for, None if it was not given. Raises ConfigError."""
    from . import arriving

    texts = texts_of(shape, options)
    for option in OPTIONS:
        if (length := len(texts[option.name])) > LONGEST_TEXT:
            raise ConfigError(f"{option.flag}: a text of {length} characters; {LONGEST_TEXT} at most are read")
    loop = loop_of(user_classes)
    slo = _slo(texts["slo"])
    default_min, default_start = (0.1, 2.0) if loop == "open" else (1.0, 1.0)
    number = whole if loop == "closed" else positive
    highest = _parse("adaptive_max", texts, number, DEFAULT_MAX[loop])
    if max_users is not None:
        if max_users < 1:
            raise ConfigError(f"-u {max_users}: it is the highest load to offer, and must leave at least 1")
        # In open loop too, -u is a ceiling on what the person calls users: one arrival/s each.
        highest = min(highest, float(max_users))
    lowest = _parse("adaptive_min", texts, number, min(default_min, highest))
    if lowest > highest:
        raise ConfigError(f"--adaptive-min {lowest:g} is above --adaptive-max {highest:g}: no load is left to try")
    start = _parse("adaptive_start", texts, number, min(max(default_start, lowest), highest))
    if not lowest <= start <= highest:
        raise ConfigError(f"--adaptive-start {start:g} is not within --adaptive-min {lowest:g} and -max {highest:g}")
    prior = _parse("adaptive_prior", texts, lambda file: Prior.read(Path(file), loop), None)
    if prior is not None and not lowest <= prior.value <= highest:
        raise ConfigError(
            f"--adaptive-prior {texts['adaptive_prior']!r}: a capacity of {prior.value:g} is not within --adaptive-min "
            f"{lowest:g} and -max {highest:g}; move these, or leave the option out"
        )
    differences = prior.differences(str(slo), getattr(options, "host", None)) if prior else []
    profile = _parse("adaptive_profile", texts, _profile, PROFILES[STANDARD])
    grid = Grid.rate(lowest, highest) if loop == "open" else Grid.users(int(lowest), int(highest))
    arriving.check_search(user_classes)
    arrivals, doubt = arriving.chosen(user_classes) if loop == "open" else (None, None)
    doubts = [f"--adaptive-prior {texts['adaptive_prior']!r}: {text}" for text in differences]
    doubts += [doubt] if doubt else []
    run_time = getattr(options, "run_time", None)
    settings = Settings(
        slo=slo,
        loop=loop,
        grid=grid,
        start=start,
        budget_s=float(run_time) if run_time else DEFAULT_BUDGET_S,
        precision=_parse("adaptive_precision", texts, ratio, profile["precision"]),
        dwells=int(profile["dwells"]),
        soak_s=_parse("adaptive_soak", texts, seconds, profile["soak_s"]),
        spike_tolerance=_parse("adaptive_spike_tolerance", texts, share, Settings.spike_tolerance),
        prior=None if prior is None else prior.value,
    )
    return Plan(
        settings=settings,
        unit=_unit(highest) if loop == "open" else 1.0,
        cap=int(_parse("adaptive_cap", texts, whole, DEFAULT_CAP)),
        seed=int(_parse("adaptive_seed", texts, seed, 1.0)),
        arrivals=arrivals,
        min_capacity=_parse("adaptive_min_capacity", texts, positive, None),
        out=texts["adaptive_out"].strip(),
        texts=texts,
        doubts=tuple(doubts),
    )


def caps(shape: Any, options: Any, loop: Loop, max_users: int | None) -> dict[str, float]:
    """What the web form may only lower, by flag: the load, what is in flight, seconds, and users if -u was given. Where
    a text cannot be read, its default stands: that is no way to have more."""
    texts = texts_of(shape, options)

    def held(name: str, default: float) -> float:
        try:
            return _parse(name, texts, positive, default)
        except ConfigError:
            return default

    found = {
        "--adaptive-max": held("adaptive_max", DEFAULT_MAX[loop]),
        "--adaptive-cap": held("adaptive_cap", DEFAULT_CAP),
        "-t": float(getattr(options, "run_time", None) or DEFAULT_BUDGET_S),
    }
    return found if max_users is None else {**found, "-u": float(max_users)}


def check_lowered(held: Mapping[str, float], asked: Mapping[str, float]) -> None:
    """Raise ConfigError when a cap asked for in the web form is above the one that held at the start."""
    for flag, most in held.items():
        if asked.get(flag, 0.0) > most:
            raise ConfigError(
                f"{flag} {asked[flag]:g} is above {most:g}, which held when locust was started: the web form can lower "
                f"it, and not raise it. For more, start locust with {flag} {asked[flag]:g}"
            )


def texts_of(shape: Any, options: Any) -> dict[str, str]:
    """The text of each option that holds, as it is; where the profile decides, what it says."""
    texts = {option.name: _pick(option, shape, options) for option in OPTIONS}
    profile = BY_PROFILE.get(texts["adaptive_profile"].strip(), {})
    return {**texts, **{name: text for name, text in profile.items() if not texts[name].strip()}}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return " & ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _pick(option: Option, shape: Any, options: Any) -> str:
    # The parser's default is the class attribute: what it holds stands, unless it is blank.
    for text in (_text(getattr(options, option.name, None)), _text(getattr(shape, option.name, None))):
        if text.strip():
            return text
    return option.default


def loop_of(user_classes: Sequence[Any]) -> Loop:
    """Open or closed loop? Raises ConfigError for a mixture, and for none."""
    from .openloop import is_open_loop

    open_, closed = ([c.__name__ for c in user_classes if is_open_loop(c) is wanted] for wanted in (True, False))
    if open_ and closed:
        raise ConfigError(
            f"the locustfile mixes open loop ({', '.join(open_)}) and closed loop ({', '.join(closed)}): one search "
            "controls either arrivals or users. Add the OpenLoop mixin to each class, remove it from each, or name the "
            "classes to run on the command line"
        )
    if not user_classes:
        raise ConfigError("the locustfile has no user class to make load with")
    return "open" if open_ else "closed"


def _slo(text: str) -> Slo:
    """The SLO, if this version can judge it."""
    try:
        slo = Slo.parse(text)
    except SloError as e:
        hint = (
            "" if text.strip() else "\nGive the condition to meet: --slo 'p99<250ms & errors<1%', or slo in the shape."
        )
        raise ConfigError(f"--slo cannot be read\n{e}{hint}") from None
    for objective in slo.objectives:
        if objective.signal != "rps" and objective not in slo.counted:
            raise ConfigError(
                f"--slo {text!r}: this version has no source for the signal '{objective.signal}'; it can judge "
                "latency percentiles, errors and rps. Remove the term from the SLO"
            )
    if not any(o.role == "constraint" for o in slo.counted):
        raise ConfigError(
            f"--slo {text!r}: no term of it can fail a load; add a latency percentile or errors, e.g. p99<250ms"
        )
    return slo


def _unit(highest: float) -> float:
    """Arrivals/s that one Locust user stands for: 1, 2, 5, 10, ... so that there are at most 1 000."""
    unit = 1.0
    for factor in (2.0, 2.5, 2.0) * 12:
        if highest / unit <= 1000:
            break
        unit *= factor
    return unit


def _parse(name: str, texts: dict[str, str], parse: Callable[[str], T], default: T) -> T:
    text = texts[name].strip()
    if not text:
        return default
    try:
        return parse(text)
    except ValueError as e:
        flag = "--" + name.replace("_", "-")
        raise ConfigError(f"{flag} {text!r}: {e}") from None


def _profile(text: str) -> Mapping[str, float]:
    if text not in PROFILES:
        raise ValueError(f"is none of {', '.join(PROFILES)}")
    return PROFILES[text]
