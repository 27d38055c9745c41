"""Every word that a result may hold, in plain English. docs/reference/reasons.md is this table."""

from __future__ import annotations

from typing import NamedTuple


class Word(NamedTuple):
    """What a word means, and what to do next."""

    meaning: str
    advice: str = ""


VERDICTS = {
    "resolved": Word("the capacity is known as precisely as was asked"),
    "unresolved": Word("the capacity is not known as precisely as was asked; the reason says why, and what is known"),
    "invalid": Word("the measurement was unfit: nothing can be said of the target"),
    "aborted": Word("someone or something ended the search before it had an answer"),
}

REASONS = {
    "converged": Word("the interval is as narrow as asked, and no soak refuted it"),
    "ceiling_reached": Word(
        "the highest load allowed meets the SLO, so the capacity is that or more",
        "raise --adaptive-max (and -u, if given) if the generator and the target may take more",
    ),
    "below_minimum": Word(
        "the lowest load allowed fails the SLO for two minutes; or too many requests fail, and not fewer at less load",
        "see whether the target answers at all and whether the SLO fits it; or lower --adaptive-min",
    ),
    "not_precise": Word(
        "the interval did not become as narrow as asked: the target's latency varies too much",
        "look for what varies in the target, or ask for less with --adaptive-precision",
    ),
    "not_verified": Word(
        "loads below the estimate failed when they were held: the estimate is not to be trusted",
        "look for what the target does in a long soak, or in bursts, that it does not do in a short probe",
    ),
    "budget_spent": Word(
        "the time allowed was over before the answer was precise enough",
        "allow more time with -t, or ask for less with --adaptive-precision",
    ),
    "not_measurable": Word(
        "the load is too low for the percentile: hardly a request may miss the SLO in the time of a search, so that "
        "misses cannot be counted",
        "allow many times more time with -t, or ask for a lower percentile",
    ),
    "target_unreachable": Word(
        "nobody was there: every connection was refused, or the name or the way to the host was not known",
        "start the target, and see whether -H names the right host and port",
    ),
    "every_request_fails": Word(
        "every request failed in a way that no lighter load cures (http 4xx, a check, an exception)",
        "send one such request by hand: path, headers, credentials, body and the check on the answer",
    ),
    "target_gone": Word(
        "the target went away during the search (connections refused) and was not back within 60 s",
        "see the target's own log for why it ended; what is known so far stands",
    ),
    "measurement_invalid": Word(
        "three probes in a row at one load, or three and more than 30 % of all, could not be measured properly",
        "remove the cause named above, then run again",
    ),
    "target_does_not_recover": Word(
        "after an overload the target did not answer even a light load within 60 s, or requests could not be ended",
        "look at the target: it hangs, or sheds, long after the load is gone",
    ),
    "stalls_exceed_tolerance": Word(
        "the target stood still for a larger share of the time than --adaptive-spike-tolerance allows",
        "find what stops the target (garbage collection, compilation, a neighbour), or allow a larger share",
    ),
    "stopped": Word(
        "someone ended the test in Locust: the Stop button, or a task that raised StopTest",
        "what it found so far stands; start a new search for the answer",
    ),
    "stopped by SIGINT": Word("Ctrl-C", "what it found so far stands"),
    "stopped by SIGTERM": Word(
        "the process was asked to end: by `kill`, a container that was stopped, a job that was cancelled",
        "what it found so far stands",
    ),
    "stopped by SIGHUP": Word("the terminal was closed", "what it found so far stands; `nohup` keeps it running"),
    "internal error": Word(
        "a fault of locust-adaptive, or of a locustfile that overrides it: the error follows, Locust's log has more",
        "please report it with the journal",
    ),
    "workers_lost": Word(
        "no worker was left: they died, or the master could not hear them any more",
        "see the workers' own logs for why they ended; what is known so far stands",
    ),
    "journal_ends": Word(
        "the journal stops before the search came to an end: the process was killed",
        "run again; the probes it records stand",
    ),
}
"""Reasons of a conclusion. `internal error` is followed by the error."""

NOTES = {
    "not_stationary": Word(
        "the target became another during the search: a light load was answered at another speed than before. The "
        "capacity is that of its last state; where it drifts, the interval is wider than asked, for it may drift on",
        "look for drift, throttling or a neighbour, and run again",
    ),
    "slow_phases": Word(
        "the target is slow for a while again and again, more than a tenth of the time: the capacity counts that. "
        "Between its slow phases it takes more, as said above",
        "look for a neighbour, throttling, compaction or collection of garbage",
    ),
    "slow_phases_left_out": Word(
        "the target was slow for a while, less than a tenth of the time: the capacity leaves that out, the strict one "
        "counts it",
    ),
    "non_monotone": Word(
        "the target fails at light loads that are below those it passes, as batching does that waits for a batch to "
        "fill: the capacity is the highest load that passes",
    ),
    "metastable": Word(
        "the target stayed overloaded after an overload, at a load that it passes otherwise: a spike above the "
        "capacity may leave it failing until the load is far lower",
        "keep more room below the capacity, or shed load early; see what outlives an overload in the target, as "
        "queues, retries and cold caches do",
    ),
    "stalls_exceed_tolerance": Word(
        "the stalls took a larger share of the time than --adaptive-spike-tolerance forgives: the capacity counts them"
    ),
    "rate_limited": Word(
        "what fails above the capacity is mostly answered 429: a limiter, not the server, sets the capacity",
        "lift the limit for this client to see what the server itself can take",
    ),
    "little_breach": Word(
        "in a probe, requests in flight and latencies disagree by more than 5 % (Little's law): it is doubtful"
    ),
    "journal_lost": Word(
        "the journal could not be written to its end: it lacks what came after, this result does not",
        "make room where the results go, or name another folder with --adaptive-out",
    ),
    "result_not_saved": Word(
        "capacity.json could not be written: the result stands as text above the verdict",
        "make room where the results go, or name another folder with --adaptive-out",
    ),
    "journal_torn": Word("the last line of the journal was not written to its end, and is left out"),
}

TRIAL_VERDICTS = {
    "PASS": Word("the load meets the SLO"),
    "FAIL": Word("the load breaks the SLO; the reason is the objective it breaks, or one of those below"),
    "UNDECIDED": Word("not enough evidence for either; the estimate uses it all the same"),
    "INVALID": Word("the measurement is unfit, and the probe is repeated"),
}

TRIAL_REASONS = {
    "overload": Word("requests piled up faster than they were answered"),
    "hang": Word("nothing came back for more than 10 s and a latency limit"),
    "errors_surge": Word("more than half of the answers of 2 s were failures: the load was taken away at once"),
    "target_gone": Word(
        "nobody listened any more. INVALID, and measured again once the target is back; FAIL when it goes away again "
        "at this load, or did so at a lower one"
    ),
    "target_unreachable": Word("nobody was there from the start", "see the reason of the search"),
    "every_request_fails": Word("every request was wrong from the start", "see the reason of the search"),
    "stall": Word("the target stood still for a moment: the probe was cut short there, and may be repeated"),
    "stalls_each_time": Word("three probes of this load in a row stood still: it is the load's doing"),
    "workers_changed": Word("a worker came or went during the probe", "keep the workers connected during the search"),
    "no_report": Word("a worker did not report for 8 s", "see whether the worker is alive and not overloaded"),
    "users_not_reached": Word(
        "the users asked for were not there after 30 s", "see Locust's log for why they do not start"
    ),
    "too little clean time": Word(
        "too much of the probe had to be left out", "see the stretches left out: late sending, or stalls"
    ),
    "generator CPU": Word(
        "a generator process used more than 70 % of its core", "add workers, or use a cheaper client"
    ),
    "share of arrivals sent": Word(
        "less than 98 % of the arrivals could be sent", "raise the cap on requests in flight (--adaptive-cap)"
    ),
    "share of time in which sending stood still": Word(
        "a generator process stood still for too much of the time",
        "give the generator a core of its own, or add workers",
    ),
    "send lag p99 in seconds": Word(
        "requests left later than 5 ms and 5 % of the limit", "give the generator a core of its own, or add workers"
    ),
    "generator CPU in any 3 s": Word(
        "a generator process used more than 90 % of its core for 3 s", "add workers, or use a cheaper client"
    ),
    "no descriptors": Word(
        "the generator could open no more files: requests failed before they left",
        "raise the limit on open files (ulimit -n), or add workers",
    ),
    "no ports": Word(
        "the generator's host has no local port left for the target: requests failed before they left",
        "keep connections alive, or add workers on other machines or addresses",
    ),
    "no buffers": Word(
        "the generator's host has no memory for sockets: requests failed before they left",
        "give the generator more memory, or add workers on other machines",
    ),
}
"""Reasons of a trial beside the texts of objectives. From `generator CPU` on they are rules of validity, followed by
the value, its bound and advice."""

EXIT_CODES = {
    0: "resolved, and every gate is met; or every gate is met where the capacity is only bounded or imprecise",
    1: "a gate failed: the capacity is lower than asked",
    2: "wrong usage or configuration, an error of our own, or a result or journal that could not be saved",
    3: "unresolved, invalid or aborted, and no gate decides",
    129: "stopped by SIGHUP (the terminal was closed); the report is written",
    130: "stopped by SIGINT (Ctrl-C); the report is written",
    143: "stopped by SIGTERM; the report is written",
}
