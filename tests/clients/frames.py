"""HTTP/2 frame by frame, with nothing checked: clients and servers that no library would be."""

import contextlib
import ssl
import subprocess

import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from messages import Message
from raw import Server

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WINDOW = 1 << 24


class Frames:
    """One end of a connection; `start` says the own preface and settings."""

    def __init__(self, connection):
        self.connection = connection
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.buffer = b""

    def start(self, preface=b""):
        self.connection.sendall(preface)
        self.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: WINDOW}))
        self.send(WindowUpdateFrame(0, window_increment=WINDOW))

    def send(self, *frames):
        self.connection.sendall(b"".join(frame.serialize() for frame in frames))

    def block(self, fields):
        """The fields as HPACK, whatever their bytes."""
        return self.encoder.encode([(_bytes(name), _bytes(value)) for name, value in fields], huffman=False)

    def headers(self, stream, fields, *flags):
        block = self.block(fields)
        first = HeadersFrame(stream, block[:16000], flags=flags)
        rest = [ContinuationFrame(stream, block[at : at + 16000]) for at in range(16000, len(block), 16000)]
        ([first, *rest])[-1].flags.add("END_HEADERS")
        self.send(first, *rest)

    def data(self, stream, data, *flags):
        parts = [data[at : at + 16000] for at in range(0, len(data), 16000)] or [b""]
        frames = [DataFrame(stream, part) for part in parts]
        for flag in flags:
            frames[-1].flags.add(flag)
        self.send(*frames)

    def _exactly(self, count):
        while len(self.buffer) < count:
            part = self.connection.recv(65536)
            if not part:
                return None
            self.buffer += part
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def take_preface(self):
        return self._exactly(len(PREFACE)) == PREFACE

    def next(self):
        """The next frame that is none of housekeeping; none at the end. Whole header blocks only, decoded."""
        while (head := self._exactly(9)) is not None:
            frame, length = Frame.parse_frame_header(memoryview(head))
            frame.parse_body(memoryview(self._exactly(length) or b""))
            if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
                self.send(SettingsFrame(0, flags=["ACK"]))
            elif isinstance(frame, PingFrame) and "ACK" not in frame.flags:
                self.send(PingFrame(0, frame.opaque_data, flags=["ACK"]))
            elif isinstance(frame, HeadersFrame):
                block, flags = frame.data, frame.flags
                while "END_HEADERS" not in flags:
                    more, length = Frame.parse_frame_header(memoryview(self._exactly(9)))
                    more.parse_body(memoryview(self._exactly(length)))
                    block, flags = block + more.data, more.flags
                frame.fields = [(_bytes(name).decode("latin-1"), _bytes(value)) for name, value in self.decoder.decode(block, raw=True)]
                return frame
            elif isinstance(frame, (DataFrame, RstStreamFrame, GoAwayFrame)):
                return frame
        return None


class Answer:
    """What came of one request: a status with fields and body, or a reset, or the end of the connection."""

    def __init__(self):
        self.status = None
        self.fields = []
        self.body = b""
        self.trailers = []
        self.broken = None

    def take(self, frame):
        """Says whether the answer is over."""
        if frame is None or isinstance(frame, (RstStreamFrame, GoAwayFrame)):
            self.broken = "closed" if frame is None else f"{type(frame).__name__} {frame.error_code}"
            return True
        if isinstance(frame, DataFrame):
            self.body += frame.data
        elif self.status is None:
            self.status, self.fields = int(dict(frame.fields)[":status"]), frame.fields
            if self.status < 200:
                self.status = None
        else:
            self.trailers = frame.fields
        return "END_STREAM" in frame.flags


def client(connection):
    frames = Frames(connection)
    frames.start(PREFACE)
    return frames


def read_answer(frames, stream):
    answer = Answer()
    with contextlib.suppress(ConnectionResetError, ssl.SSLError, BrokenPipeError):
        while True:
            frame = frames.next()
            if frame is not None and frame.stream_id not in (0, stream):
                continue
            if isinstance(frame, GoAwayFrame) and frame.error_code == 0:
                continue
            if answer.take(frame):
                return answer
    answer.broken = answer.broken or "closed"
    return answer


class H2Server:
    """Takes requests over TLS with ALPN h2, and hands each to a function with its frames and stream."""

    def __init__(self, folder, serve, name="webexapis.com"):
        self.serve = serve
        self.ca = folder / "h2-cert.pem"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
        command += ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", folder / "h2-key.pem", "-out", self.ca]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.ca, folder / "h2-key.pem")
        self.context.set_alpn_protocols(["h2"])
        self.requests = []
        self.server = Server(self._serve)
        self.address = self.server.address

    def _serve(self, connection):
        with self.context.wrap_socket(connection, server_side=True) as secure:
            frames = Frames(secure)
            if not frames.take_preface():
                return
            frames.start()
            open_streams = {}
            while (frame := frames.next()) is not None:
                self._take(frames, frame, open_streams)

    def _take(self, frames, frame, open_streams):
        stream = frame.stream_id
        if isinstance(frame, HeadersFrame) and stream not in open_streams:
            open_streams[stream] = [frame.fields, b"", []]
        elif isinstance(frame, HeadersFrame):
            open_streams[stream][2] = frame.fields
        elif isinstance(frame, DataFrame) and stream in open_streams:
            open_streams[stream][1] += frame.data
        if "END_STREAM" in frame.flags and stream in open_streams:
            fields, body, trailers = open_streams.pop(stream)
            pseudo = dict(fields)
            start = b"%s %s HTTP/2" % (pseudo[":method"], pseudo[":path"])
            request = Message(start, fields, "stream", body, trailers)
            self.requests.append(request)
            self.serve(frames, stream, request)

    def stop(self):
        self.server.stop()


def _bytes(text):
    return bytes(text) if isinstance(text, (bytes, memoryview)) else text.encode()
