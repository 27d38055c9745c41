"""`trace record`: a reverse proxy before a server, that writes down what comes in."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .faults import Fault, faults, parsed

if TYPE_CHECKING:
    from ..replay.recording.recorder import Progress, Recorder
    from ..replay.recording.relay import Relay

_SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


@click.command()
@click.option("--target", required=True, metavar="URL", help="The server that gets the requests.")
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="The trace; a new file.")
@click.option("--listen", default="127.0.0.1:9001", show_default=True, metavar="HOST:PORT", help="Where clients come.")
@click.option("--bodies", default="100%", show_default=True, metavar="SHARE", help="Sessions whose bodies are kept.")
@click.option("--seed", default=0, show_default=True, help="Draws these sessions.")
@click.option("--session-header", default="", metavar="NAME", help="Header that names the session; stored as a hash.")
@click.option("--session-cookie", default="", metavar="NAME", help="Cookie that does so, instead.")
@click.option("--redact-header", multiple=True, metavar="NAME", help="Leave this header out, too.")
@click.option("--redact-query", multiple=True, metavar="NAME", help="Overwrite this query parameter, too.")
@click.option("--redact-field", multiple=True, metavar="PATH", help="Overwrite this field of JSON bodies: user.email.")
@click.option("--max-size", default="2GB", show_default=True, help="The recording ends when its file is so large.")
@click.option("--max-time", default="1h", show_default=True, help="The recording ends after this time.")
@click.option("--max-body", default="16MB", show_default=True, help="Larger bodies are not kept.")
@click.option("--keep-host", is_flag=True, help="Pass the clients' Host header on instead of the target's own.")
@click.option("--timeout", default="10m", show_default=True, help="Silence of the target that is answered with 504.")
@click.option("--grace", default="10s", show_default=True, help="For open requests, when it is stopped.")
@click.option("--no-recording", is_flag=True, hidden=True, help="Relay only: what the recording itself adds.")
def record(
    target: str,
    out: Path,
    listen: str,
    bodies: str,
    seed: int,
    session_header: str,
    session_cookie: str,
    redact_header: Sequence[str],
    redact_query: Sequence[str],
    redact_field: Sequence[str],
    max_size: str,
    max_time: str,
    max_body: str,
    keep_host: bool,
    timeout: str,
    grace: str,
    no_recording: bool,
) -> None:
    """Relay requests to a server and record them as the trace FILE, until Ctrl-C, SIGTERM or a limit.

    \b
    locust-adaptive trace record --target http://127.0.0.1:8000 --out day.trace

    Let clients use the --listen address instead of the server's. Credentials are left out; see
    docs/how-to/record.md for what is stored and what is not. At a limit the recording ends and relaying goes on.
    """
    from ..replay.recording.plan import Plan
    from ..replay.recording.recorder import Recorder
    from ..replay.recording.relay import Relay
    from ..search.quantities import seconds

    with faults():
        host, port = _address(listen)
        plan = Plan(
            bodies=parsed("--bodies", bodies, _share),
            seed=seed,
            redact_headers=tuple(redact_header),
            redact_query=tuple(redact_query),
            redact_fields=tuple(redact_field),
            session_header=session_header,
            session_cookie=session_cookie,
            max_size=parsed("--max-size", max_size, _size),
            max_time=parsed("--max-time", max_time, seconds),
            max_body=parsed("--max-body", max_body, _size),
        )
        relay = Relay(target, keep_host=keep_host, silence_s=parsed("--timeout", timeout, seconds))
        grace_s = parsed("--grace", grace, seconds)
        recorder = None
        if not no_recording:
            recorder = Recorder(out, plan, origin=f"recorded before {relay.target}", salt=os.urandom(16))
            recorder.start()
            relay.records_to(recorder)
        try:
            asyncio.run(_serve(relay, recorder, host, port, grace_s, out))
        finally:
            ended = None if recorder is None else _seal(recorder, out)
    if ended is not None:
        _summary(ended, out)


async def _serve(relay: "Relay", recorder: "Recorder | None", host: str, port: int, grace_s: float, out: Path) -> None:
    """Relay until a signal; a second one does not wait for open requests."""
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[int] = asyncio.Queue()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, signals.put_nowait, number)
    try:
        port = await relay.open(host, port)
    except OSError as fault:
        raise ValueError(
            f"cannot listen on {host}:{port}: {fault.strerror or fault}; choose another --listen"
        ) from None
    click.echo(f"ready http://{f'[{host}]' if ':' in host else host}:{port}")
    click.echo(f"relays to {relay.target}, records to {out}; Ctrl-C ends it", err=True)
    telling = loop.create_task(_tell(relay, recorder)) if recorder is not None else None
    await signals.get()
    if telling is not None:
        telling.cancel()
    closing = loop.create_task(relay.close(grace_s))
    hurry = loop.create_task(signals.get())
    await asyncio.wait({closing, hurry}, return_when=asyncio.FIRST_COMPLETED)
    cut = closing.result() if closing.done() else await relay.close(0)
    if cut:
        click.echo(f"{cut} open requests were cut off", err=True)
    hurry.cancel()


async def _tell(relay: "Relay", recorder: "Recorder") -> None:
    """On a terminal, a line that is brought up to date each second; anywhere, when the recording ends by itself."""
    before, line = 0, sys.stderr.isatty()
    while not (ended := (now := recorder.progress()).ended):
        if line:
            click.echo(f"\r{_line(now, relay.requests - before)}\033[K", err=True, nl=False)
        before = relay.requests
        await asyncio.sleep(1.0)
    click.echo("\n" * line + f"recording has ended: {ended}; relaying goes on until Ctrl-C", err=True)


def _seal(recorder: "Recorder", out: Path) -> "Progress":
    try:
        return recorder.close()
    except KeyboardInterrupt:
        raise Fault(f"{out} is not finished; `locust-adaptive trace seal {out}` does it") from None


def _line(now: "Progress", rate: int) -> str:
    lost, left_out = sum(now.lost.values()), sum(now.left_out.values())
    return (
        f"{now.arrivals} requests ({rate}/s), {lost} lost, {now.bodies} bodies, {left_out} left out, "
        f"{now.size / 1e6:.1f} MB"
    )


def _summary(ended: "Progress", out: Path) -> None:
    if ended.fault:
        raise Fault(
            f"the recording ended early: {ended.ended}. {ended.written} requests are in {out}; "
            f"`locust-adaptive trace seal {out}` finishes it"
        )
    if not ended.written:
        raise Fault(f"no request came that can be recorded, and {out} was not made" + _counts("; lost: ", ended.lost))
    click.echo(f"{out}: {ended.written} requests, {ended.bodies} bodies, {ended.size / 1e6:.1f} MB")
    for what, counts in (("lost", ended.lost), ("bodies left out", ended.left_out), ("redacted", ended.redacted)):
        if counts:
            click.echo(_counts(f"{what}: ", counts), err=True)
    if ended.unsearched:
        click.echo(f"not searched for fields: {ended.unsearched} bodies that are no JSON", err=True)


def _counts(what: str, counts: dict[str, int]) -> str:
    return what + ", ".join(f"{why} ({n} times)" for why, n in sorted(counts.items())) if counts else ""


def _address(text: str) -> tuple[str, int]:
    parts = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]*)):(\d{1,5})", text)
    if not parts or int(parts[3]) > 65535:
        raise ValueError(f"--listen {text!r} is no address; write it as 127.0.0.1:9001")
    return parts[1] or parts[2] or "0.0.0.0", int(parts[3])


def _share(text: str) -> float:
    from ..search.quantities import share

    return 1.0 if text.strip() in ("100%", "1") else share(text)


def _size(text: str) -> int:
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if not parts or parts[2] not in _SIZES or not (size := int(float(parts[1]) * _SIZES[parts[2]])):
        raise ValueError("is not a size such as 500MB or 2GB")
    return size
