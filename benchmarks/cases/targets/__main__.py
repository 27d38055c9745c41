"""Start a target and keep it until Ctrl-C: `python -m benchmarks.cases.targets triton --port 8000 --core 1`."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path

from . import TARGETS, NotServed, Served


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cases.targets", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--port", type=int, default=0, help="a free one without it")
    parser.add_argument("--core", type=int, help="the only core that the server may use")
    parser.add_argument("--log", type=Path, help="build/cases/NAME.log without it")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with Served(options.target, port=options.port, core=options.core, log=options.log) as server:
            print(f"{options.target} answers at {server.url}; its log is {server.log}; Ctrl-C ends it", flush=True)
            while server.running:
                time.sleep(0.2)
        print(f"{options.target} has ended by itself; see {server.log}", file=sys.stderr)
        return 1
    except (NotServed, ValueError) as fault:
        print(fault, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
