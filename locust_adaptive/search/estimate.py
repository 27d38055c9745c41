"""The estimate: a posterior over the capacity from every trial, by one of two models of how misses follow the load.

`by_queue` compares misses with a virtual queue fed the same arrivals (open loop, needs a service rate).
`by_counts` knows only how many requests missed at which load (closed loop, or before any overload).
Sources: the design and its measurements in the project's notes on search limits; QUEST (Watson & Pelli 1983) for the
grid posterior over threshold and slope; Robbins (1970) for contamination floors as used here per trial.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .evidence import dispersion
from .queue import service_spread, tail, threshold, workload
from .slices import SLICE_S
from .trial import STALLS, Trial, Verdict

INFLATE = 1.9
"""Standard deviations are multiplied by this: trials agree with each other better than with the truth."""

PHI, PHI_TRIALS, PHI_MOST = 15.0, 3, 8
"""Dispersion of the misses around the virtual queue's before any are seen, how many trials that expectation weighs, and
how many times as much one trial may show, where a disturbance is forgiven."""

FAILING, ENOUGH = 0.1, 30
"""A probe in which more than this share of the answers failed, or fewer were seen, shows no service rate."""

Z95 = 1.959964


@dataclass(frozen=True)
class Estimate:
    """Capacity: posterior median and standard deviation of its logarithm. `mu` is the service rate (1/s) of the virtual
    queue, None when counts alone were used: then misses grow with the load by `slope`. `disturbed`: numbers of trials
    with so many more misses than expected that something else made them."""

    value: float
    sd: float
    mu: float | None = None
    slope: float = 20.0
    disturbed: frozenset[int] = frozenset()

    @property
    def low(self) -> float:
        return self.value * math.exp(-Z95 * self.sd)

    @property
    def high(self) -> float:
        return self.value * math.exp(Z95 * self.sd)

    def at(self, sds: float) -> float:
        """The load `sds` standard deviations above the median."""
        return self.value * math.exp(sds * self.sd)

    def miss_fraction(self, load: float, budget: float) -> float:
        """Long-run fraction of misses expected at `load`, from the model at its median."""
        if self.mu is not None and self.value < self.mu:
            if load >= self.mu:
                return 1.0
            depth = threshold(np.array([self.value / self.mu]), budget)
            return float(tail(load / self.mu, depth)[0])
        odds = math.log(budget / (1 - budget)) + self.slope * math.log(load / self.value)
        return 1 / (1 + math.exp(-min(max(odds, -500), 500)))


def service_rate(trials: Sequence[Trial], limit: float) -> tuple[float, float] | None:
    """Service rate (1/s) of the saturated server and its relative standard error, from the probes that failed; None
    where none of them saturated it for long enough. To fail or to stand still is no service: such probes say
    nothing. Where one ran its time, those that were cut do not count: a server that shares its time among requests has
    hardly answered any by then."""
    ran, cut = _Rate(), _Rate()
    for trial in trials:
        if trial.reason in ("hang", STALLS) or trial.measurement.failed_share > FAILING:
            continue
        if trial.verdict is Verdict.FAIL:
            rate, done, share = trial.measurement.busy_rate(max(trial.load * limit / 2, 4))
            # Looking only at the worst moments of a server that coped would make it seem slow.
            if done >= ENOUGH and (trial.overloaded or share > 0.5):
                (cut if trial.overloaded else ran).add(rate, done)
    found = ran if ran.seen else cut
    return (math.exp(found.logs / found.seen), service_spread(found.seen)) if found.seen else None


@dataclass
class _Rate:
    """Sum of the logarithms of rates, by the completions seen at each, and the number of these."""

    logs: float = 0.0
    seen: int = 0

    def add(self, rate: float, done: int) -> None:
        self.logs += math.log(rate) * done
        self.seen += done


RATIOS = np.concatenate([np.linspace(0.30, 0.70, 20, endpoint=False), np.linspace(0.70, 0.995, 120)])
"""Capacities tried, as ratios to the service rate; finer where most servers' are."""


def by_queue(
    trials: Sequence[Trial], objective: int, budget: float, mu: float, mu_sd: float, forgiving: bool = True
) -> Estimate:
    """Posterior over the capacity for a counted `objective` with miss `budget`, service rate `mu` with spread `mu_sd`.
    `forgiving`: a trial may have been disturbed, and then says nothing; otherwise each counts for what it is.

    For each service rate and
    each capacity C the virtual queue's own threshold for C says how many misses K to expect; log-likelihood of k
    misses: (k log(K / k) - K + k) / phi, Poisson's deviance over the dispersion. The rates are tried coarsely, then
    finely around what fits: where C is close to the rate, a rate that is 2 % off fits nothing.
    """
    steps = mu_sd * np.linspace(-2, 2, 7)
    posterior = _Posterior(trials, objective, budget, mu, mu_sd, steps, forgiving)
    fine = posterior.centre_step + (steps[1] - steps[0]) * np.linspace(-1, 1, 7)
    posterior = _Posterior(trials, objective, budget, mu, mu_sd, fine, forgiving)
    sd = INFLATE * math.sqrt(posterior.spread**2 + 0.003**2)
    return Estimate(math.exp(posterior.centre), sd, mu=posterior.rate, disturbed=posterior.disturbed)


class _Posterior:
    """Posterior over service rate and capacity on the grid `mu * exp(steps)` x `RATIOS`."""

    def __init__(
        self,
        trials: Sequence[Trial],
        objective: int,
        budget: float,
        mu: float,
        mu_sd: float,
        steps: np.ndarray,
        forgiving: bool,
    ) -> None:
        rates = mu * np.exp(steps)
        depths = threshold(RATIOS, budget)
        observed = {t.number: t.measurement.counts(objective) for t in trials}
        observed = {number: (k, n) for number, (k, n) in observed.items() if n > 0}
        expected = np.stack([_expected(trials, observed, rate, depths, budget) for rate in rates])
        misses = np.array([k for k, _ in observed.values()], dtype=float)
        cap = np.maximum([6 * budget * n for _, n in observed.values()], 1)
        misses = np.minimum(misses, cap)
        expected = np.minimum(expected, cap[None, :, None])
        prior = -0.5 * (np.log(RATIOS / 0.9) / 0.15) ** 2 + np.log(np.gradient(np.log(RATIOS)))
        prior_mu = -0.5 * (steps / mu_sd) ** 2
        log_c = np.log(rates)[:, None] + np.log(RATIOS)[None, :]
        phi = PHI
        for _ in range(2):
            k = misses[None, :, None]
            with np.errstate(divide="ignore", invalid="ignore"):
                deviance = np.where(k > 0, k * np.log(expected / k), 0.0) - expected + k
                # A trial may have been disturbed by something else: it then says nothing.
                floor = np.where(k > expected, 0.02, 0.03) if forgiving else np.zeros_like(expected)
                spoilt = (k > expected) & (deviance / phi < np.log(floor))
                loglik = np.logaddexp(np.log1p(-floor) + deviance / phi, np.log(floor)).sum(axis=1)
            logpost = loglik + prior[None, :] + prior_mu[:, None]
            weights = np.exp(logpost - logpost.max())
            weights /= weights.sum()
            row, column = np.unravel_index(int(weights.argmax()), weights.shape)
            at = expected[row, :, column]
            squares = np.minimum((misses - at) ** 2 / at, PHI_MOST * PHI if forgiving else np.inf)
            phi = (PHI_TRIALS * PHI + float(squares.sum())) / (PHI_TRIALS + len(squares))
        bad = spoilt[row, :, column]
        self.disturbed = frozenset(number for number, yes in zip(observed, bad, strict=True) if yes)
        self.centre, self.spread = _median(log_c.ravel(), weights.ravel())
        self.rate = float((weights.sum(axis=1) * rates).sum())
        self.centre_step = float((weights.sum(axis=1) * steps).sum())


def _expected(
    trials: Sequence[Trial], observed: dict[int, tuple[int, int]], rate: float, depths: np.ndarray, budget: float
) -> np.ndarray:
    """Misses to expect, [observed trial, capacity], if the server were a virtual queue of this rate."""
    rows = []
    for seen, n in _virtual(trials, {number: n for number, (_, n) in observed.items()}, rate):
        deep = np.sort(seen[seen > depths[0]])
        over = len(deep) - np.searchsorted(deep, depths, side="right")
        # A virtual queue that never reached the threshold still expects its long-run tail, or a clean trial would rule
        # out nothing and a single stray miss everything.
        rows.append(np.maximum(over * (n / max(len(seen), 1)), 0.02 * budget * n + 0.02))
    return np.array(rows).reshape(-1, len(depths))


def by_counts(trials: Sequence[Trial], objective: int, budget: float, centre: float, spread: float) -> Estimate:
    """Posterior over capacity and slope from counts: logit P(miss | x) = logit(budget) + slope log(x / C).

    Prior on log C: Cauchy(log `centre`, `spread`). Counts are divided by the trial's dispersion; far above the budget
    only the side counts, since there latency depends on how long one looks.
    """
    log_c = np.linspace(math.log(centre) - 6 * spread - 0.7, math.log(centre) + 6 * spread + 0.7, 400)
    slopes = np.array([5.0, 10.0, 20.0, 40.0, 80.0])
    logit = math.log(budget / (1 - budget))
    logpost = np.zeros((len(slopes), len(log_c))) - np.log1p(((log_c - math.log(centre)) / spread) ** 2)
    for trial in trials:
        k, n = trial.measurement.counts(objective)
        if n == 0 and not trial.overloaded:
            continue
        phi = dispersion(*trial.measurement.batches(objective), budget)
        n_eff = n / phi
        top = min(4 * budget, 0.5)
        if trial.overloaded:
            # It was cut when that was plain, before the counts could show it.
            n_eff = max(n_eff, 2 / budget)
        p = 1 / (1 + np.exp(-np.clip(logit + slopes[:, None] * (math.log(trial.load) - log_c[None, :]), -50, 50)))
        p = np.clip(p, 0.02 * budget, top)
        share = top if trial.overloaded else min(max(k / n, 0.0), top)
        loglik = n_eff * (share * np.log(p) + (1 - share) * np.log1p(-p))
        best = n_eff * (
            share * math.log(max(share, 0.02 * budget)) + (1 - share) * math.log1p(-max(share, 0.02 * budget))
        )
        floor = np.where(share > p, 0.02, 0.03)
        logpost += np.log((1 - floor) * np.exp(np.minimum(loglik - best, 0)) + floor)
    posterior = np.exp(logpost - logpost.max())
    posterior /= posterior.sum()
    middle, sd = _median(log_c, posterior.sum(axis=0))
    slope = float((posterior.sum(axis=1) * slopes).sum())
    return Estimate(math.exp(middle), INFLATE * math.sqrt(sd**2 + 0.003**2), slope=slope)


def _median(values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Weighted median and standard deviation."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    median = float(np.interp(0.5, cumulative / cumulative[-1], values[order]))
    mean = float((values * weights).sum())
    return median, math.sqrt(max(float((weights * (values - mean) ** 2).sum()), 0.0))


def _virtual(trials: Sequence[Trial], wanted: dict[int, int], rate: float) -> list[tuple[np.ndarray, int]]:
    """For each wanted trial, in order: the virtual queue's depth at each of its counted arrivals, and how many requests
    were counted. The queue runs on through trials between which the server was not drained."""
    out: list[tuple[np.ndarray, int]] = []
    group: list[Trial] = []

    def flush() -> None:
        if not group:
            return
        times, spans, start = [], [], 0.0
        for trial in group:
            m = trial.measurement
            lead = sum(f.span for f in m.preamble)
            if m.carried:
                times.append(start + m.sent_before)
                start += lead
            mine = start + m.sent_at
            times.append(mine)
            spans.append((trial, start, mine))
            start += m.elapsed_s
        all_times = np.concatenate(times)
        depth = workload(all_times, rate)
        for trial, begin, mine in spans:
            if trial.number not in wanted:
                continue
            m = trial.measurement
            lo = int(np.searchsorted(all_times, mine[0])) if len(mine) else 0
            slices = ((mine - begin) / SLICE_S + 1e-9).astype(int)
            clean = np.zeros(int(slices.max(initial=0)) + 1, dtype=bool)
            for cohort in m.clean:
                if cohort.index < len(clean):
                    clean[cohort.index] = True
            mask = clean[slices] if len(mine) else np.zeros(0, dtype=bool)
            out.append((depth[lo : lo + len(mine)][mask], wanted[trial.number]))

    for trial in trials:
        if not trial.measurement.carried:
            flush()
            group = []
        group.append(trial)
    flush()
    return out
