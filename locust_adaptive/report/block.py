"""The verdict block: what a run found, as the plain text that ends it. Made from the result alone."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from ..search.slo import Objective, Slo
from ..search.trial import CUT
from . import fitness, words
from .exitcode import Gate
from .lines import WORDS, decisive, limit, name, reading
from .numbers import clock, number, seconds, spelled, things, three
from .result import CapacityPart, Result, StallPart, TrialPart

WIDTH = 100
LABEL = 11
OWN_STALLS = 3
"""So many stalls are the server's own (design, section 7)."""
MANY, FEW = 16, 2
"""Of a search with more probes than MANY, those of a purpose that has more than FEW are summed up."""
CELLS = {"PASS": "pass", "FAIL": "FAIL", "UNDECIDED": "?", "INVALID": "invalid"}
UNITS = {"rps": "req/s", "arrivals": "arrivals/s", "users": "users"}


def block(
    outcome: Result,
    gates: Sequence[Gate] = (),
    exit_code: int | None = None,
    folder: str = "",
    files: Sequence[str] = (),
) -> str:
    """The verdict block, each line ended. `folder` and the names of its `files` are where the report lies."""
    return _Block(outcome).text(gates, exit_code, folder, files)


class _Block:
    def __init__(self, outcome: Result) -> None:
        self.outcome = outcome
        self.capacity = outcome["capacity"]
        self.unit = UNITS[self.capacity["unit"]]
        self.counted = Slo.parse(outcome["slo"]).counted
        self.by_text = {str(o): o for o in self.counted}
        named = outcome["limit"]["objective"]
        self.binding = self.by_text[named] if named else next((o for o in self.counted if o.role == "constraint"), None)

    def text(self, gates: Sequence[Gate], exit_code: int | None, folder: str, files: Sequence[str]) -> str:
        rows = [
            *self._headline(),
            *self._strict(),
            self._load_kind(),
            *self._limit(),
            *self._why(),
            ("search", ";  ".join(self._search())),
            *self._probes(),
            *self._stalls(),
            ("generator", self._generator()),
            *self._validity(),
            *((("note", words.NOTES[n].meaning if n in words.NOTES else n)) for n in self.outcome["notes"]),
            *self._next(),
            *((("gate", f"{'met' if g.met else 'FAILED' if g.met is False else 'unknown'}:  {g.text}")) for g in gates),
            *self._report(exit_code, folder, files),
        ]
        return "".join(f" {label:<{LABEL - 1}}{_folded(text)}\n" for label, text in rows)

    # -- the answer --------------------------------------------------------------------------------------------------

    def _headline(self) -> Iterator[tuple[str, str]]:
        outcome = self.outcome
        slo, verdict = f"SLO {outcome['slo']}", outcome["verdict"]
        main = self._amount()
        if self._own_stalls and self._strict_is_less:
            main += f"     SLO NOT MET with its stalls ({self._pattern()})"
        if len(main) + len(slo) <= WIDTH - 15:
            yield "CAPACITY", f"{main}     {slo}          {verdict}"
        else:
            yield "CAPACITY", f"{main}     {verdict}"
            yield "slo", outcome["slo"]

    def _amount(self) -> str:
        c, unit = self.capacity, self.unit
        if c["value"] is not None:
            return f"{self._load(c)}  ({_interval(c)})"
        if self.outcome["strict_reason"] and "stalls_exceed_tolerance" in self.outcome["notes"]:
            return "none"
        if self.outcome["reason"] == "ceiling_reached" and c["low"] is not None:
            return f"at least {number(c['low'])} {unit}  (the highest load allowed)"
        if self.outcome["reason"] == "below_minimum":
            return f"below {number(self._lowest_tried)} {unit}  (the lowest load tried)"
        if c["low"] is not None and c["high"] is not None and c["low"] < c["high"]:
            return f"not known;  {number(c['low'])} {unit} passed, {number(c['high'])} failed"
        if c["low"] is not None and any(t["verdict"] == "PASS" for t in self.outcome["trials"]):
            return f"not known;  {number(c['low'])} {unit} passed"
        return "not known"

    def _load(self, c: CapacityPart) -> str:
        """65.5 req/s, or with the requests beside it where they are not the unit."""
        text = f"{_exact(c, c['value'])} {self.unit}"
        return text if c["unit"] == "rps" or c["rps"] is None else f"{text} = {number(c['rps'])} req/s"

    @property
    def _lowest_tried(self) -> float:
        return min((t["load"] for t in self.outcome["trials"] if t["verdict"] == "FAIL"), default=0.0)

    def _strict(self) -> Iterator[tuple[str, str]]:
        strict = self.outcome["strict"]
        undisturbed, what = self.outcome.get("undisturbed"), []
        if undisturbed is not None:
            yield "between", f"{self._load(undisturbed)}  ({_interval(undisturbed)}), between its slow phases"
        if any(s["excised"] for s in self.outcome["stalls"]):
            what.append("stalls")
        if "slow_phases_left_out" in self.outcome["notes"]:
            what.append("slow phases")
        if not what:
            return
        if strict is None:
            yield (
                "strict",
                self.outcome["strict_reason"] or "not known: the search ended before the stalls could be counted",
            )
        elif strict["value"] is not None:
            yield "strict", f"{self._load(strict)}  ({_interval(strict)}), with its {' and '.join(what)} counted"

    @property
    def _own_stalls(self) -> bool:
        return len(self.outcome["stalls"]) >= OWN_STALLS

    @property
    def _strict_is_less(self) -> bool:
        strict, value = self.outcome["strict"], self.capacity["value"]
        if strict is None:
            return True
        return value is not None and strict["value"] is not None and strict["value"] < value

    def _pattern(self) -> str:
        """1.0 s each 45 s"""
        lengths = sorted(s["length_s"] for s in self.outcome["stalls"])
        return f"{lengths[len(lengths) // 2]:.1f} s each {seconds(self.outcome['elapsed_s'] / len(lengths))}"

    def _load_kind(self) -> tuple[str, str]:
        load = self.outcome["load"]
        if load["kind"] == "closed":
            return "load", "users, closed loop: each waits for its answer before it sends again"
        kind = {"poisson": "Poisson"}.get(load["arrivals"] or "", load["arrivals"] or "open")
        each = load["requests_per_arrival"]
        one = self.capacity["unit"] == "rps"
        return "arrivals", f"{kind}, open loop, {'1 request' if one else f'{number(each)} requests'} each"

    def _limit(self) -> Iterator[tuple[str, str]]:
        binding, value = self.binding, self.capacity["value"]
        if self.outcome["limit"]["objective"] is None or binding is None or value is None:
            return
        at = f"{_exact(self.capacity, value)} {self.unit}"
        text = f"{binding.label} ({limit(binding)} at {at}){self._failing(binding, value)}"
        following = self.by_text.get(self.outcome["limit"]["next"] or "")
        if following is not None:
            near = min(self._measured(following), key=lambda t: abs(t["load"] - value), default=None)
            now = None if near is None else reading(near, following)
            text += f";  next: {following.label}" + ("" if now is None else f" {now} (limit {limit(following)})")
        yield "limit", text

    def _failing(self, binding: Objective, value: float) -> str:
        """Words to add where it is failures that break a latency objective near the capacity, not slow answers."""
        near = [t for t in self._measured(binding) if 0.9 * value <= t["load"] <= 1.1 * value]
        kinds = {kind for t in near for kind in t["errors"]}
        failed = sum(n for t in near for n in t["errors"].values())
        if binding.signal != "latency" or 2 * failed <= sum(t["misses"][str(binding)][0] for t in near):
            return ""
        return f", broken by failures ({', '.join(sorted(kinds))}), not by slow answers"

    def _measured(self, objective: Objective) -> Iterator[TrialPart]:
        """Trials that say something of an objective, where the server was not overloaded."""
        for trial in self.outcome["trials"]:
            fit = trial["verdict"] != "INVALID" and trial["reason"] not in CUT
            if fit and trial["misses"][str(objective)][1]:
                yield trial

    # -- how it went -------------------------------------------------------------------------------------------------

    def _search(self) -> Iterator[str]:
        outcome, trials, stalls = self.outcome, self.outcome["trials"], self.outcome["stalls"]
        repeated = sum(t["repeats"] is not None for t in trials)
        invalid = sum(t["verdict"] == "INVALID" for t in trials)
        valid = f" ({len(trials) - invalid} valid, {invalid} invalid)" if invalid else ""
        yield things(len(trials), "probe") + valid + (f", {repeated} repeated" if repeated else "")
        excised = [s for s in stalls if s["excised"]]
        if excised:
            fate = "left out of the probes" if "stalls_exceed_tolerance" in outcome["notes"] else "forgiven"
            yield f"{_stalls_of(excised)} {fate}"
        if outcome["warmup_s"] is not None:
            yield f"warm-up of {seconds(outcome['warmup_s'])} detected"
        if self.capacity["verified"] is not None:
            yield f"{number(self.capacity['verified'])} {self.unit} held in a soak"
        yield seconds(outcome["elapsed_s"])
        yield things(outcome["requests"], "request")

    def _chains(self) -> list[list[TrialPart]]:
        """Trials in order; one that was measured again stands with its repeats."""
        chains: list[list[TrialPart]] = []
        for trial in self.outcome["trials"]:
            if chains and trial["repeats"] == chains[-1][-1]["number"]:
                chains[-1].append(trial)
            else:
                chains.append([trial])
        return chains

    def _probes(self) -> Iterator[tuple[str, str]]:
        """Each probe; in a long search the dwells around the estimate, and the looks back, have a row of their own."""
        chains = self._chains()
        summed: list[tuple[str, list[TrialPart]]] = []
        if len(self.outcome["trials"]) > MANY:
            for label, purpose in (("refine", "refine"), ("look back", "canary")):
                of_purpose = [chain for chain in chains if chain[0]["purpose"] == purpose]
                if len(of_purpose) > FEW:
                    chains = [chain for chain in chains if chain[0]["purpose"] != purpose]
                    summed.append((label, [t for chain in of_purpose for t in chain]))
        self._unit_said = False
        cells = [f"{number(chain[0]['load'])} {' -> '.join(map(self._cell, chain))}" for chain in chains]
        legend = "    (? undecided)" if any(" ?" in cell for cell in cells) else ""
        if cells:
            yield "probes", _wrapped([*cells[:-1], cells[-1] + legend], " | ")
        for label, trials in summed:
            yield label, self._summary(trials)

    def _cell(self, trial: TrialPart) -> str:
        """pass 143 ms: the verdict, and what it was of the binding objective, or of the one that decided."""
        word = CELLS[trial["verdict"]]
        if trial["verdict"] == "INVALID" or self.binding is None:
            return word
        if trial["reason"] in CUT:
            # What was answered before it was cut off is not the latency at this load.
            return f"{word} {trial['reason']}"
        if trial["reason"] == "stall" and trial["verdict"] == "UNDECIDED":
            return "stall"
        objective = decisive(trial, self.counted, self.binding)
        value = reading(trial, objective, unit=not self._unit_said)
        if value is None:
            return word
        self._unit_said = self._unit_said or objective.signal == "latency"
        return f"{word} {value}" if objective is self.binding else f"{word} {name(objective)} {value}"

    def _summary(self, trials: list[TrialPart]) -> str:
        """26 probes at 53.8 .. 61.2 req/s: 18 pass, 6 undecided, 2 FAIL"""
        loads = [number(end(t["load"] for t in trials)) for end in (min, max)]
        counts = {word: sum(t["verdict"] == verdict for t in trials) for verdict, word in WORDS.items()}
        shares = [f"{n} {word}" for word, n in counts.items() if n]
        where = loads[0] if loads[0] == loads[1] else f"{loads[0]} .. {loads[1]}"
        return f"{things(len(trials), 'probe')} at {where} {self.unit}: {', '.join(shares)}"

    def _stalls(self) -> Iterator[tuple[str, str]]:
        for label, excised in (("stalls", True), ("+ counted", False)):
            cells = [
                f"{s['length_s']:.1f} s at {clock(s['at_s'])}"
                for s in self.outcome["stalls"]
                if s["excised"] is excised
            ]
            if cells:
                yield label, _wrapped(cells, ", ")

    def _generator(self) -> str:
        g = self.outcome["generator"]
        late = f", {seconds(g['late_s'])} of late sending left out" if g["late_s"] else ""
        return things(g["workers"], "worker") + late

    def _validity(self) -> Iterator[tuple[str, str]]:
        rules = self.outcome.get("validity", [])
        if self.outcome["reason"] == "measurement_invalid":
            yield "validity", f"INVALID: {'; '.join(self._unfit())}"
        elif rules:
            yield "validity", f"VALID: {fitness.values(rules)}"
        if flagged := fitness.flagged(rules):
            yield "flagged", flagged

    def _unfit(self) -> list[str]:
        """What made probes INVALID, and what to do, each once."""
        causes: dict[str, str] = {}
        for trial in self.outcome["trials"]:
            if trial["verdict"] == "INVALID":
                known = words.TRIAL_REASONS.get(trial["reason"])
                told = trial["reason"] if known is None else f"{known.meaning}: {known.advice}"
                rule, text = fitness.cause(trial.get("broken", []), trial["reason"]) or (trial["reason"], told)
                causes[rule] = text
        return list(causes.values())

    # -- where it did not come to an answer --------------------------------------------------------------------------

    def _why(self) -> Iterator[tuple[str, str]]:
        outcome = self.outcome
        if outcome["verdict"] == "resolved":
            return
        reason = outcome["reason"]
        yield "why", f"{reason}: {words.REASONS[reason].meaning}" if reason in words.REASONS else reason

    def _next(self) -> Iterator[tuple[str, str]]:
        said = [words.REASONS.get(self.outcome["reason"]), *map(words.NOTES.get, self.outcome["notes"])]
        advice = [word.advice for word in said if word is not None and word.advice]
        if advice:
            yield "do next", "; ".join(advice)

    def _report(self, exit_code: int | None, folder: str, files: Sequence[str]) -> Iterator[tuple[str, str]]:
        parts = [folder, *files] if folder else []
        if exit_code is not None:
            parts.append(f"{' ' * 18 if folder else ''}exit {exit_code}")
        if parts:
            yield "report", "  ".join(parts)


def _interval(c: CapacityPart) -> str:
    ends = ["?" if end is None else _exact(c, end) for end in (c["low"], c["high"])]
    return f"{100 * c['confidence']:.0f}% CI {ends[0]} .. {ends[1]}"


def _exact(c: CapacityPart, load: float | None) -> str:
    """A load of the answer: users are whole, rates have three digits."""
    return "?" if load is None else number(load) if c["unit"] == "users" else three(load)


def _stalls_of(stalls: Sequence[StallPart]) -> str:
    total = sum(s["length_s"] for s in stalls)
    if len(stalls) == 1:
        return f"one stall of {total:.1f} s"
    return f"{spelled(len(stalls))} stalls, {total:.1f} s in all,"


def _wrapped(cells: Sequence[str], between: str) -> str:
    """Cells joined, on lines that break between two of them."""
    lines, line = [], ""
    for cell in cells:
        if line and LABEL + len(line) + len(between) + len(cell) > WIDTH:
            lines.append(line + between.rstrip())
            line = cell
        else:
            line = line + between + cell if line else cell
    return "\n".join([*lines, line])


def _folded(text: str) -> str:
    """Indented under the text of the first line; sentences broken at blanks, what is laid out already left as it is."""
    if "\n" not in text and "   " not in text:
        text = textwrap.fill(
            text, WIDTH + 20 - LABEL, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
        )
    return text.replace("\n", "\n" + " " * LABEL)
