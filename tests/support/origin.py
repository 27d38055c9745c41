"""A scripted HTTP server and a bare client, over sockets, for tests of what goes through a proxy byte by byte."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from locust_adaptive.demo.process import ServerProcess

CLI = (sys.executable, "-c", "from locust_adaptive.cli import main; main()")


class Wire:
    """One end of a connection, with a buffer: heads, exact numbers of bytes, chunked bodies. Five seconds a read."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._buffer = b""
        sock.settimeout(5)

    @classmethod
    def to(cls, url: str) -> Wire:
        host, port = url.removeprefix("http://").split(":")
        return cls(socket.create_connection((host, int(port)), timeout=5))

    def send(self, data: bytes) -> Self:
        self.socket.sendall(data)
        return self

    def head(self) -> bytes:
        return self._until(b"\r\n\r\n")

    def chunked(self) -> bytes:
        """The rest of a chunked message as it is on the wire."""
        return self._until(b"0\r\n\r\n")

    def exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def answer(self) -> tuple[bytes, bytes]:
        """A head, and a body of its Content-Length."""
        head = self.head()
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        return head, self.exactly(int(lengths[0].split(b":")[1]) if lengths else 0)

    def rest(self) -> bytes:
        """All until the other end closes."""
        while data := self.socket.recv(65536):
            self._buffer += data
        data, self._buffer = self._buffer, b""
        return data

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        data, _, self._buffer = self._buffer.partition(mark)
        return data + mark

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(f"closed after {self._buffer!r}")
        self._buffer += data


class Origin:
    """Calls `behave` with the wire of each connection, in a thread, and closes it then. `faults` are its exceptions."""

    def __init__(self, behave: Callable[[Wire], object] = lambda wire: None) -> None:
        self.behave = behave
        self.faults: list[BaseException] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, _: TracebackType | None) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(self.behave, Wire(sock)), daemon=True).start()

    def _serve(self, behave: Callable[[Wire], object], wire: Wire) -> None:
        try:
            behave(wire)
        except (EOFError, ConnectionError):
            pass
        except BaseException as fault:
            self.faults.append(fault)
        finally:
            wire.close()


def proxy(target: str, *options: object, folder: Path | None = None) -> ServerProcess:
    """`trace record` as a child, on a free port, not started yet; it records to day.trace in `folder`, or nothing."""
    record = ["--out", folder / "day.trace"] if folder is not None else ["--out", "-", "--no-recording"]
    words = ["trace", "record", "--target", target, "--listen", "127.0.0.1:0", *record, *options]
    return ServerProcess([*CLI, *map(str, words)])
