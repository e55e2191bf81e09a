"""A real Alertmanager on a port of its own: takes alerts, notifies whom its configuration names."""

from prometheus import TOOLS
from service import Service, free_address
from world import TIMEOUT


class Alertmanager(Service):
    """Debian's Alertmanager with one configuration, alone in its cluster."""

    def __init__(self, folder, config):
        path = folder / "alertmanager.yml"
        path.write_text(config)
        address = free_address()
        arguments = [TOOLS / "alertmanager", f"--config.file={path}", f"--storage.path={folder / 'data'}"]
        arguments += [f"--web.listen-address={address}", "--cluster.listen-address="]
        # Its templates are looked for below where it stands.
        super().__init__(arguments, TOOLS.parents[1], address)

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
