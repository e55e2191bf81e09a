"""Sockets below HTTP libraries: bytes that no client library would send, and servers that misbehave."""

import contextlib
import re
import socket
import ssl
import threading
import time

TIMEOUT = 20


def connect(port, timeout=TIMEOUT):
    return socket.create_connection(("127.0.0.1", port), timeout=timeout)


def connect_tls(port, ca, name="localhost", alpn=("http/1.1",)):
    context = ssl.create_default_context(cafile=str(ca))
    context.set_alpn_protocols(list(alpn))
    return context.wrap_socket(connect(port), server_hostname=name)


def read_to_end(connection):
    """What came until the other side closed; a reset counts as a close."""
    parts = []
    with contextlib.suppress(ConnectionResetError, ssl.SSLError, BrokenPipeError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def exchange(connection, sent):
    """Sends bytes and reads until the other side closes; a timeout raises."""
    with connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(sent)
        return read_to_end(connection)
    return b""


def seconds_until_closed(connection):
    started = time.monotonic()
    with connection:
        got = read_to_end(connection)
    return time.monotonic() - started, got


class Server:
    """A TCP server that hands each connection to a function on a thread of its own."""

    def __init__(self, serve):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.port = self.socket.getsockname()[1]
        self.serve = serve
        self.accepted = 0
        self.open = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.accepted += 1
                self.open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            self.serve(connection)

    def stop(self):
        # Closing alone does not wake a thread that waits in accept.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for connection in self.open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def read_head(connection):
    """The head of one request, and of its body what came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return data, b""
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def read_request(connection):
    """One whole request with a Content-Length or without a body."""
    head, body = read_head(connection)
    length = re.search(rb"(?im)^content-length: *(\d+)", head)
    while length and len(body) < int(length[1]):
        part = connection.recv(65536)
        if not part:
            break
        body += part
    return head, body


def splice(source, target):
    """Copies bytes both ways until one side ends."""

    def copy(one, other):
        with contextlib.suppress(OSError):
            while part := one.recv(65536):
                other.sendall(part)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    back = threading.Thread(target=copy, args=(target, source), daemon=True)
    back.start()
    copy(source, target)
    back.join(timeout=TIMEOUT)
