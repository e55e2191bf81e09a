"""A relay of TCP between one replica and its Redis, which a test can cut, hold up and mend."""

import contextlib
import selectors
import socket
import threading


class Relay:
    """Passes bytes both ways. While it is cut nothing passes and nobody is told: as a network that drops all packets."""

    def __init__(self, port):
        self.target = ("127.0.0.1", port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.is_open = threading.Event()
        self.is_open.set()
        self.is_over = threading.Event()
        self.sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self.is_over.is_set():
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            self.is_open.wait()
            with contextlib.suppress(OSError):
                far = socket.create_connection(self.target, timeout=5)
                far.settimeout(None)
                for one in (near, far):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.sockets += [near, far]
                threading.Thread(target=self._pass, args=(near, far), daemon=True).start()
                continue
            near.close()

    def _pass(self, near, far):
        with selectors.DefaultSelector() as ready, near, far, contextlib.suppress(OSError):
            ready.register(near, selectors.EVENT_READ, far)
            ready.register(far, selectors.EVENT_READ, near)
            while True:
                for key, _ in ready.select():
                    data = key.fileobj.recv(65536)
                    self.is_open.wait()
                    if not data:
                        return
                    key.data.sendall(data)

    def cut(self):
        self.is_open.clear()

    def mend(self):
        self.is_open.set()

    def drop(self):
        """Ends every connection that there is; new ones are taken."""
        for one in self.sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self.sockets.clear()

    def stop(self):
        self.is_over.set()
        self.listener.close()
        self.mend()
        self.drop()
