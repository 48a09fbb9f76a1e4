"""A relay in front of a server whose connections can go silent: open, and nothing comes through."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Relay:
    """Passes bytes on in both directions, but for connections that are silent."""

    target: tuple[str, int]
    silent: set[int] = field(default_factory=set)
    """Numbers of connections, in the order in which they came."""
    sent: dict[int, int] = field(default_factory=dict)
    """Bytes that the client sent, by connection."""
    _sockets: list[socket.socket] = field(default_factory=list)

    def accept(self, listener: socket.socket) -> None:
        """Take connections until the listener is closed."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            self._sockets += [client, server]
            number = len(self.sent)
            self.sent[number] = 0
            for source, sink in ((client, server), (server, client)):
                counted = source is client
                threading.Thread(target=self._pass_on, args=(source, sink, number, counted)).start()

    def _pass_on(
        self, source: socket.socket, sink: socket.socket, number: int, counted: bool
    ) -> None:
        try:
            while data := source.recv(1 << 16):
                if counted:
                    self.sent[number] += len(data)
                if number not in self.silent:
                    sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            one.close()

    def close(self) -> None:
        """End all connections."""
        for one in self._sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                one.close()


@contextmanager
def relaying(address: str) -> Iterator[tuple[str, Relay]]:
    """A relay on a free port, and its address."""
    host, port = address.rsplit(":", 1)
    relay = Relay((host, int(port)))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=relay.accept, args=(listener,))
        accepting.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", relay
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            relay.close()
            accepting.join()
