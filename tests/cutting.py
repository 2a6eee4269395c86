"""A wire between a browser and a server that is cut amid answers, as a phone's is in a tunnel."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_ANSWERS = (b"POST /api/answer", b"GET /v1/streams/")


class Wire:
    """Carries bytes to `port` of this machine; the first `cuts` answers break off after their second event."""

    def __init__(self, port: int, cuts: int) -> None:
        self.asked: list[bytes] = []  # the first words of each request for an answer
        self._to, self._left = port, cuts
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"

    def run(self) -> None:
        """Take connections until the door is closed."""
        with suppress(OSError):
            while True:
                near, _ = self._door.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                for work in (self._up, self._down):
                    threading.Thread(target=work, args=(near, far), daemon=True).start()

    def close(self) -> None:
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def _up(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while said := near.recv(1 << 16):
                if said.startswith(_ANSWERS):
                    self.asked.append(said.split(b" ")[0])
                far.sendall(said)
        _end(far)

    def _down(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            answer = b""
            while said := far.recv(1 << 16):
                # Only answers that can be resumed say so in their head.
                answer = answer + said if answer or b"x-voxpop-stream: " in said else b""
                events = answer.split(b"event: ")
                if self._left and len(events) > 3:
                    self._left -= 1
                    rest = sum(map(len, events[3:])) + len(b"event: ") * len(events[3:])
                    near.sendall(said[: max(len(said) - rest, 0)])
                    break
                near.sendall(said)
        _end(near)
        _end(far)


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


@contextmanager
def cut(port: int, cuts: int) -> Iterator[Wire]:
    """A wire to a port of this machine."""
    wire = Wire(port, cuts)
    threading.Thread(target=wire.run, daemon=True).start()
    try:
        yield wire
    finally:
        wire.close()
