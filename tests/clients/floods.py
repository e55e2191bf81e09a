"""Connections of an attacker: many at once, bytes as given, and never waiting longer than the attack lasts."""

import contextlib
import socket
import ssl
import time

import hpack
from hyperframe.frame import SettingsFrame, WindowUpdateFrame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

WINDOW = 1 << 24


class Wire:
    """One connection. What was sent is counted; once the other side has closed, nothing more is."""

    def __init__(self, held, port, ca=None, alpn=("h2",), small=False):
        connection = socket.socket()
        if small:
            # The smallest that the kernel allows: hardly a byte goes past what is read.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", port))
        if ca is not None:
            context = ssl.create_default_context(cafile=str(ca))
            context.set_alpn_protocols(list(alpn))
            connection = context.wrap_socket(connection, server_hostname="localhost")
        self.connection = held.enter_context(contextlib.closing(connection))
        self.connection.settimeout(0.2)
        self.is_open = True
        self.sent = 0
        self.got = b""

    def send(self, data):
        """False when nothing more can be sent: the other side closed, or takes nothing."""
        if self.is_open:
            try:
                self.connection.sendall(data)
                self.sent += len(data)
            except OSError:
                self.is_open = False
        return self.is_open

    def take(self, count):
        """Reads so many bytes, if they are there."""
        self.connection.setblocking(False)
        with contextlib.suppress(OSError):
            self.connection.recv(count)
        self.connection.settimeout(0.2)

    def drain(self, keep=0):
        """Reads what is there without waiting; keeps the last bytes of it."""
        self.connection.setblocking(False)
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
            while self.is_open:
                try:
                    part = self.connection.recv(65536)
                except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
                    part = b""
                if not part:
                    self.is_open = False
                if keep:
                    self.got = (self.got + part)[-keep:]
        self.connection.settimeout(0.2)


class H2Wire(Wire):
    """An HTTP/2 connection after its preface."""

    def __init__(self, held, proxy, window=WINDOW, connection_window=WINDOW):
        super().__init__(held, proxy.https_port, proxy.ca)
        self.encoder = hpack.Encoder()
        self.authority = f"localhost:{proxy.https_port}"
        self.stream = -1
        settings = SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: window})
        more = WindowUpdateFrame(0, window_increment=connection_window).serialize() if connection_window else b""
        self.send(PREFACE + settings.serialize() + more + SettingsFrame(0, flags=["ACK"]).serialize())

    def next_stream(self):
        self.stream += 2
        return self.stream

    def fields(self, method, path, token, *more):
        pseudo = [(":method", method), (":scheme", "https"), (":authority", self.authority), (":path", path)]
        return [*pseudo, ("authorization", f"Bearer {token}"), *more]

    def block(self, method, path, token, *more):
        """A head; said again, each of its fields takes one byte."""
        return self.encoder.encode(self.fields(method, path, token, *more))


def frame(kind, flags, stream, payload=b""):
    """A frame, quicker than hyperframe builds one and with no check at all."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


DATA, HEADERS, RST, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4


def plain_wires(held, proxy, count, small=False):
    return [Wire(held, proxy.http_port, small=small) for _ in range(count)]


def flood(wires, batch, until, pause=0.0):
    """Sends `batch(wire)` on every wire again and again; says how many bytes went out."""
    while time.monotonic() < until and any(wire.is_open for wire in wires):
        for wire in wires:
            if wire.is_open:
                wire.send(batch(wire))
                wire.drain()
        if pause:
            time.sleep(pause)
    return sum(wire.sent for wire in wires)


def wait(until):
    time.sleep(max(0.0, until - time.monotonic()))
