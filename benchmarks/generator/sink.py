"""The server of the benchmark: reads each request whole and answers at once, on one core. `python sink.py BYTES` prints
its URL; its replies have so many bytes."""

from __future__ import annotations

import selectors
import socket
import sys


def main(reply_bytes: int) -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % reply_bytes
    reply += b"x" * reply_bytes
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    listener.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    while True:
        for key, _ in selector.select():
            if key.data is None:
                accepted, _ = listener.accept()
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(accepted, selectors.EVENT_READ, bytearray())
                continue
            sock, pending = key.fileobj, key.data
            assert isinstance(sock, socket.socket)
            try:
                data = sock.recv(1 << 16)  # for more, malloc goes to the system each time
            except OSError:
                data = b""
            if not data:
                selector.unregister(sock)
                sock.close()
                continue
            pending += data
            while (whole := _request_bytes(pending)) and whole <= len(pending):
                del pending[:whole]
                sock.sendall(reply)


def _request_bytes(pending: bytearray) -> int:
    """Bytes of the first request, 0 while its head is not whole."""
    end = pending.find(b"\r\n\r\n")
    if end < 0:
        return 0
    head = pending[:end].lower()
    at = head.find(b"\r\ncontent-length:")
    return end + 4 + (int(head[at + 17 :].split(b"\r", 1)[0]) if at >= 0 else 0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
