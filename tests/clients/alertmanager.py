"""A real Alertmanager on a port of its own: takes alerts, notifies whom its configuration names."""

import socket

import requests

from prometheus import TOOLS
from world import TIMEOUT, Process, wait_until


class Alertmanager(Process):
    """Debian's Alertmanager with one configuration, alone in its cluster."""

    def __init__(self, folder, config):
        path = folder / "alertmanager.yml"
        path.write_text(config)
        # Alertmanager does not tell which port it took, so it is given one that was free a moment ago.
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        arguments = [TOOLS / "alertmanager", f"--config.file={path}", f"--storage.path={folder / 'data'}"]
        arguments += [f"--web.listen-address={address}", "--cluster.listen-address="]
        # Its templates are looked for below where it stands.
        super().__init__(arguments, TOOLS.parents[1])
        self.url = f"http://{address}"
        self.session = requests.Session()
        self.session.trust_env = False
        wait_until(self._is_ready, seconds=30, what="Alertmanager's start")

    def _is_ready(self):
        assert self.child.poll() is None, self.said()
        try:
            return self.session.get(f"{self.url}/-/ready", timeout=TIMEOUT).ok
        except requests.ConnectionError:
            return False

    def alert(self, name, **annotations):
        alert = {"labels": {"alertname": name}, "annotations": annotations}
        answer = self.session.post(f"{self.url}/api/v2/alerts", json=[alert], timeout=TIMEOUT)
        assert answer.ok, answer.text

    def requests_sent(self):
        """How many requests to Webex have ended, well or not."""
        return self._sum("alertmanager_notification_latency_seconds_count")

    def alerts_lost(self):
        """How many notifications to Webex were given up."""
        return self._sum("alertmanager_notifications_failed_total")

    def _sum(self, name):
        page = self.session.get(f"{self.url}/metrics", timeout=TIMEOUT).text
        lines = [line for line in page.splitlines() if line.startswith(f'{name}{{integration="webex"')]
        # Until there is something to count, Alertmanager does not name this receiver.
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)
