"""Other people's servers, on ports of their own: started with the test, asked over loopback, ended with it."""

import socket

import requests

from world import TIMEOUT, Process, wait_until


class Service(Process):
    """A server that says at `/-/ready` when it is, as those of the Prometheus project do."""

    def __init__(self, arguments, folder, address):
        super().__init__(arguments, folder)
        self.url = f"http://{address}"
        self.session = requests.Session()
        self.session.trust_env = False
        wait_until(self._is_ready, seconds=30, what=f"the start of {type(self).__name__}")

    def _is_ready(self):
        assert self.child.poll() is None, self.said()
        try:
            return self.session.get(f"{self.url}/-/ready", timeout=TIMEOUT).ok
        except requests.ConnectionError:
            return False


def free_address():
    """For a server that does not tell which port it took: one that was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"
