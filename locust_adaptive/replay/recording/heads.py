"""Which headers of a live request are of use in a trace at all: not those of its connection, nor those of it alone."""

from collections.abc import Iterable

from ..record import HOP_BY_HOP

ADDRESSES = frozenset(
    {"cf-connecting-ip", "fastly-client-ip", "forwarded", "true-client-ip"}
    | {"x-client-ip", "x-forwarded-for", "x-real-ip"}
)
"""Headers that name the client."""
OF_ONE_REQUEST = frozenset(
    {
        "b3",
        "baggage",
        "traceparent",
        "tracestate",
        "x-amzn-trace-id",
        "x-b3-parentspanid",
        "x-b3-sampled",
        "x-b3-spanid",
    }
    | {"x-b3-traceid", "x-cloud-trace-context", "x-correlation-id", "x-request-id"}
)
"""Headers that would join a replayed request with the traces and logs of the recorded one."""


def repeatable(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """The headers that mean the same when the request is sent again, in order."""
    return tuple(
        (name, value)
        for name, value in headers
        if (key := name.lower()) not in HOP_BY_HOP and key not in OF_ONE_REQUEST
    )
