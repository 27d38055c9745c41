r"""The SLO language: an objective, a whole SLO, and the only parser and printer of their text.

Grammar (blanks between tokens are ignored; every word is case-sensitive)::

    slo       = objective { ( "&" | "," ) objective }
    objective = subject op number [ unit ] [ "(" role ")" ]
    subject   = ( percentile | signal [ "." aggregate ] ) [ "{" request name "}" ]
    aggregate = percentile | "mean" | "max" | "min"
    percentile= "p" number                  0 < number < 100; alone it means the latency
    op        = "<" | "<=" | ">" | ">=" | ":"       ":" is "<", for shells that would redirect
    unit      = "us" | "ms" | "s" | "%" | "B" | "kB" | "MB" | "GB" | "KiB" | "MiB" | "GiB"
    role      = "constraint" | "veto" | "flag" | "report"
    signal    = a name in SIGNALS

In a request name ``\}`` is a closing brace and ``\\`` a backslash; all other characters stand for themselves.
``Slo.parse`` and ``str`` are each other's inverse.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from difflib import get_close_matches
from functools import cached_property
from typing import Literal, NamedTuple, NoReturn, Self, TypeGuard, get_args

Role = Literal["constraint", "veto", "flag", "report"]
"""constraint: can fail a probe; veto: makes it invalid or ends the run; flag: marks the estimate; report: is shown."""
Op = Literal["<", "<=", ">", ">="]
Unit = Literal["seconds", "ratio", "count", "bytes"]
"""The base unit of a limit. A count is a plain number in the signal's own unit (requests, degrees Celsius, watts)."""


class Signal(NamedTuple):
    """What the language knows of a signal: its role when none is written, the units its limit may have, and its bound.

    `bound` is "<" where only a ceiling makes sense, ">" where only a floor does, "" where both do.
    """

    role: Role
    units: tuple[Unit, ...]
    bound: Literal["<", ">", ""] = "<"


TIMINGS = ("latency", "ttft", "itl")
"""Measured request by request by the generator: end to end, to the first token, between tokens."""
SIGNALS: Mapping[str, Signal] = {
    **{timing: Signal("constraint", ("seconds",)) for timing in TIMINGS},
    "errors": Signal("constraint", ("ratio",)),
    "rps": Signal("constraint", ("count",), ">"),
    # All below are telemetry. A device metric is no constraint by default: utilisation reads 100 % long before
    # capacity, and memory is constant where the server pools it. Queue and cache are leading and unbounded.
    "queue": Signal("constraint", ("count",)),
    "kv_cache": Signal("constraint", ("ratio",)),
    "preemptions": Signal("flag", ("count",)),
    "gpu.utilization": Signal("report", ("ratio",), ""),
    "gpu.sm_active": Signal("report", ("ratio",), ""),
    "gpu.memory": Signal("report", ("ratio", "bytes")),
    "gpu.power": Signal("report", ("count",), ""),
    "gpu.temperature": Signal("report", ("count",)),
    "gpu.throttle": Signal("flag", ("ratio",)),  # share of time in hardware or thermal slowdown
    "gpu.power_cap": Signal("flag", ("ratio",)),  # share of time at the power limit: normal on dense machines
    "gpu.foreign": Signal("flag", ("ratio",)),  # utilisation by processes that are not the server
    "gpu.ecc": Signal("veto", ("count",)),
    "gpu.xid": Signal("veto", ("count",)),
    "gpu.lost": Signal("veto", ("count",)),
    "telemetry.coverage": Signal("flag", ("ratio",), ">"),
}
"""Every signal by name; the first five are the generator's own, the others telemetry."""

_CLIENT = (*TIMINGS, "errors", "rps")
_UNITS: dict[Unit, dict[str, Decimal]] = {
    "seconds": {"s": Decimal(1), "ms": Decimal("0.001"), "us": Decimal("0.000001")},
    "ratio": {"%": Decimal("0.01")},
    "count": {"": Decimal(1)},
    "bytes": {
        **{unit: Decimal(1000**power) for power, unit in enumerate(("B", "kB", "MB", "GB"))},
        **{unit: Decimal(1024**power) for power, unit in enumerate(("KiB", "MiB", "GiB"), start=1)},
    },
}
_KIND_OF: dict[str, Unit] = {text: kind for kind, texts in _UNITS.items() for text in texts}
# Own context: the caller's may round. 17 digits of a float over 1024**3 need 47.
_EXACT = Context(prec=60)
_SMALLEST, _LARGEST, _DIGITS = 1e-9, 1e18, 40

_WORD = re.compile(r"[A-Za-z_][\w.]*", re.ASCII)
_SUBJECT = re.compile(r"(?:(?P<signal>[\w.]+?)\.)?(?P<aggregate>p\d[\w.]*|mean|max|min)", re.ASCII)
_PERCENTILE = re.compile(r"p(\d{1,3}(?:\.\d{1,6})?)", re.ASCII)
_SCOPE = re.compile(r"\{((?:\\.|[^}\\])*)\}", re.DOTALL)
_OP = re.compile(r"[<>]=?|:")
_NUMBER = re.compile(r"-?(?:\d+(?:\.\d+)?|\.\d+)", re.ASCII)
_NOT_FINITE = re.compile(r"-?(?:nan|inf(?:inity)?)\b", re.IGNORECASE)
_UNIT = re.compile(r"[^\W\d_]\w*|%")
_AND, _OPEN, _CLOSE = re.compile("[&,]"), re.compile(r"\("), re.compile(r"\)")
_OPS: dict[str, Op] = {"<": "<", "<=": "<=", ">": ">", ">=": ">=", ":": "<"}
_K6 = re.compile(r"\(\s*([\d.]+)\s*\)\s*([<>]=?)?\s*([\d.]+)?\s*(us|ms|s)?", re.ASCII)
_EMPTY = "the SLO is empty: write for example p99<250ms & errors<1%"


class SloError(ValueError):
    """A text that is no SLO. `text` is the one at fault, `column` the place in it (0 to its length), `reason` why."""

    def __init__(self, reason: str, text: str, column: int, name: str = "SLO") -> None:
        super().__init__(reason, text, column, name)
        self.reason, self.text, self.column, self.name = reason, text, column, name

    def __str__(self) -> str:
        text, reason = ("".join(char if char.isprintable() else " " for char in s) for s in (self.text, self.reason))
        return f"{self.name}: {text}\n{' ' * (len(self.name) + 2 + self.column)}^ {reason}"


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One term of an SLO, as `Slo.parse` makes it.

    `aggregate` is "p99", "mean", "max", "min", or None for the signal as such; `scope` is the request name it is about,
    None for all requests; `limit` is in the base unit that `unit` names.
    """

    signal: str
    aggregate: str | None = None
    scope: str | None = None
    op: Op
    limit: float
    unit: Unit
    role: Role

    @cached_property
    def quantile(self) -> float | None:
        """0.99 for p99; None for any other aggregate."""
        return None if self._percent is None else float(_EXACT.divide(self._percent, Decimal(100)))

    @cached_property
    def budget(self) -> float | None:
        """The share of requests that may miss: 0.01 for p99 of a timing, the limit for errors, None for the rest."""
        if self.signal in TIMINGS and self._percent is not None:
            return float(_EXACT.divide(_EXACT.subtract(Decimal(100), self._percent), Decimal(100)))
        return self.limit if self.signal == "errors" else None

    @property
    def label(self) -> str:
        """How a person calls it: "p99 latency", "errors of /v1/rank", "gpu.memory"."""
        name = self.signal if self.aggregate is None else f"{self.aggregate} {self.signal}"
        return name if self.scope is None else f"{name} of {self.scope}"

    @property
    def is_telemetry(self) -> bool:
        """Scraped from an exporter, rather than counted by the generator."""
        return self.signal not in _CLIENT

    @property
    def _percent(self) -> Decimal | None:
        percentile = _PERCENTILE.fullmatch(self.aggregate or "")
        return Decimal(percentile[1]) if percentile else None

    def __str__(self) -> str:
        scope = "" if self.scope is None else "{" + re.sub(r"([\\}])", r"\\\1", self.scope) + "}"
        role = "" if self.role == SIGNALS[self.signal].role else f" ({self.role})"
        return f"{_subject(self.signal, self.aggregate)}{scope}{self.op}{_limit(self.limit, self.unit)}{role}"


@dataclass(frozen=True)
class Slo:
    """The whole condition: all objectives must hold."""

    objectives: tuple[Objective, ...]

    @classmethod
    def parse(cls, text: str | Sequence[str]) -> Self:
        """Read an SLO from one text, or from several that all must hold (a repeated option).

        Raises `SloError`, which says where and why; of several texts it names the one at fault.
        """
        texts = [text] if isinstance(text, str) else list(text)
        found: list[Objective] = []
        for number, part in enumerate(texts, start=1):
            _Parser(part, "SLO" if len(texts) == 1 else f"SLO {number} of {len(texts)}", found).slo()
        if not found:
            raise SloError(_EMPTY, "", 0)
        return cls(tuple(found))

    def __str__(self) -> str:
        return " & ".join(map(str, self.objectives))

    @cached_property
    def counted(self) -> tuple[Objective, ...]:
        """The objectives that are judged by counting each request's outcome: percentiles of latency, and errors."""
        return tuple(o for o in self.objectives if o.signal in ("latency", "errors"))

    def horizon(self, patience: float) -> float:
        """Seconds that a request is given to answer: the longest latency limit, or `patience` if there is none."""
        return max((o.limit for o in self.counted if o.signal == "latency"), default=patience)


def _subject(signal: str, aggregate: str | None) -> str:
    if aggregate is None:
        return signal
    return aggregate if signal == "latency" else f"{signal}.{aggregate}"


def _plain(number: Decimal) -> str:
    return format(number.normalize(_EXACT), "f")


def _limit(limit: float, unit: Unit) -> str:
    """The shortest exact text whose number is at least 1, where a unit allows one."""
    exact = Decimal(repr(limit))
    numbers = {name: _EXACT.divide(exact, factor) for name, factor in _UNITS[unit].items()}
    name = min(numbers, key=lambda name: (numbers[name] < 1, len(_plain(numbers[name]) + name)))
    return _plain(numbers[name]) + name


def _written(unit: Unit) -> str:
    return "as a plain number" if unit == "count" else f"in {', '.join(_UNITS[unit])}"


def _key(objective: Objective) -> tuple[str | None, ...]:
    """Two objectives with the same key limit the same thing, on the same side, to the same end."""
    return objective.signal, objective.aggregate, objective.scope, objective.op[0], objective.role


def _meant(better: str) -> str:
    """The end of an error that proposes a text, which is never itself in error."""
    try:
        Slo.parse(better)
    except SloError:
        return ""
    return f": did you mean {better}?"


def _is_role(word: str) -> TypeGuard[Role]:
    return word in get_args(Role)


def _near(word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word.lower(), known)
    return f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"


class _Parser:
    """Recursive descent over one text; appends to `found`, which holds the objectives of the texts before it too."""

    def __init__(self, text: str, name: str, found: list[Objective]) -> None:
        self.text, self.name, self.found = text, name, found
        self.at = 0

    def skip(self) -> int:
        """Step over blanks, to where the next token, or the error about it, stands."""
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.at

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self.text, self.skip())
        if match:
            self.at = match.end()
        return match

    def fail(self, reason: str, column: int) -> NoReturn:
        raise SloError(reason, self.text, column, self.name)

    def expected(self, what: str) -> NoReturn:
        found = repr(self.text[self.at]) if self.skip() < len(self.text) else "the end"
        self.fail(f"expected {what}, found {found}", self.at)

    def slo(self) -> None:
        if self.skip() == len(self.text):
            self.fail(_EMPTY, 0)
        self.objective()
        while self.take(_AND):
            self.objective()
        if self.skip() < len(self.text):
            self.expected("& or , before the next objective")

    def objective(self) -> None:
        start = self.skip()
        signal, aggregate = self.subject()
        scope = self.scope(signal)
        subject = self.text[start : self.at].rstrip()
        op_at = self.skip()
        op = self.op()
        limit, unit = self.limit(signal, subject + op)
        bound = SIGNALS[signal].bound
        if bound and op[0] != bound:
            kind, other = ("ceiling", "floor") if bound == "<" else ("floor", "ceiling")
            better = subject + bound + op[1:] + _limit(limit, unit)
            self.fail(f"{signal} has a {kind}, not a {other}{_meant(better)}", op_at)
        role = self.role() or SIGNALS[signal].role
        objective = Objective(signal=signal, aggregate=aggregate, scope=scope, op=op, limit=limit, unit=unit, role=role)
        if any(_key(objective) == _key(other) for other in self.found):
            self.fail(f"a second limit for {subject} with the role {role}: keep one", start)
        self.found.append(objective)

    def subject(self) -> tuple[str, str | None]:
        start = self.skip()
        word = self.take(_WORD)
        if not word:
            self.expected("an objective such as p99<250ms")
        if re.fullmatch(r"(.*\.)?p", word[0]) and (k6 := self.take(_K6)):
            self.k6(word[0], k6, start)
        parts = _SUBJECT.fullmatch(word[0])
        signal, aggregate = (parts["signal"] or "latency", parts["aggregate"]) if parts else (word[0], None)
        if signal not in SIGNALS:
            self.fail(f"unknown signal {signal!r}: {_near(signal, [*SIGNALS, 'p99'])}", start)
        if parts and parts["aggregate"].startswith("p"):
            percentile = _PERCENTILE.fullmatch(parts["aggregate"])
            if not percentile or not 0 < Decimal(percentile[1]) < 100:
                why = "write p and a number above 0 and below 100, with at most 6 decimals, such as p99.9"
                self.fail(f"{parts['aggregate']!r} is no percentile: {why}", start + parts.start("aggregate"))
            aggregate = "p" + _plain(Decimal(percentile[1]))
        elif signal in TIMINGS:
            why = "needs" if aggregate is None else f"cannot be limited by its {aggregate}, only by"
            example = f"requests over the limit are counted exactly; write for example {_subject(signal, 'p99')}<250ms"
            self.fail(f"{signal} {why} a percentile: {example}", start)
        if signal in ("errors", "rps") and aggregate:
            self.fail(f"{signal} is one number over all requests, without {aggregate}: write {signal}", start)
        return signal, aggregate

    def k6(self, word: str, k6: re.Match[str], start: int) -> NoReturn:
        """The spelling of k6, p(99)<250, means milliseconds."""
        percent, op, number, unit = k6.groups()
        better = f"{word}{percent}{op or '<'}{number or 250}{unit or 'ms'}"
        self.fail(f"a percentile is written without brackets{_meant(better)}", start)

    def scope(self, signal: str) -> str | None:
        start = self.skip()
        if not self.text.startswith("{", start):
            return None
        name = self.take(_SCOPE)
        if not name:
            self.fail("the request name does not end: } is missing", start)
        if not name[1]:
            self.fail("the request name is empty: write it between { and }, or leave both out", start)
        if signal not in _CLIENT:
            self.fail(f"{signal} is measured on the server, not per request: it takes no request name", start)
        return re.sub(r"\\([\\}])", r"\1", name[1])

    def op(self) -> Op:
        op = self.take(_OP)
        if not op:
            self.expected("<, <=, > or >=")
        return _OPS[op[0]]

    def limit(self, signal: str, head: str) -> tuple[float, Unit]:
        start = self.skip()
        number = self.take(_NOT_FINITE) or self.take(_NUMBER)
        if not number:
            self.expected("a limit, such as 250ms or 1%")
        exact = Decimal(number[0])
        if not exact.is_finite() or exact <= 0:
            self.fail("a limit is a finite number above zero", start)
        unit_at = self.skip()
        unit = self.take(_UNIT)
        kinds = SIGNALS[signal].units
        written = " or ".join(_written(kind) for kind in kinds)
        factor = Decimal(1)
        if unit:
            kind = _KIND_OF.get(unit[0])
            if kind not in kinds:
                self.fail(f"a limit of {signal} is written {written}, not with {unit[0]!r}", unit_at)
            factor = _UNITS[kind][unit[0]]
        elif "count" in kinds:
            kind = "count"
        elif "ratio" in kinds and exact < 1:
            kind = "ratio"
        else:
            guess = "%" if "ratio" in kinds else "s" if exact < 1 else "ms"
            self.fail(f"a limit of {signal} is written {written}{_meant(head + number[0] + guess)}", unit_at)
        value = float(_EXACT.multiply(exact, factor)) if len(number[0]) <= _DIGITS else 0.0
        if not _SMALLEST <= value <= _LARGEST:
            self.fail("a limit lies between 1e-9 and 1e18 seconds, bytes or counts", start)
        if kind == "ratio" and (value > 1 or (value == 1 and signal == "errors")):
            self.fail(f"a limit of {signal} is {'below' if signal == 'errors' else 'at most'} 100%", start)
        return value, kind

    def role(self) -> Role | None:
        if not self.take(_OPEN):
            return None
        start = self.skip()
        word = self.take(_WORD)
        if not word:
            self.expected(f"a role ({', '.join(get_args(Role))})")
        if not _is_role(word[0]):
            self.fail(f"{word[0]!r} is no role: {_near(word[0], get_args(Role))}", start)
        if not self.take(_CLOSE):
            self.expected(") after the role")
        return word[0]
