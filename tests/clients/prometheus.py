"""A real Prometheus on a port of its own: scrapes the proxy, evaluates the rules, answers queries."""

import pathlib
import subprocess

from service import Service, free_address
from world import ROOT, TIMEOUT

TOOLS = ROOT / "target/prometheus/usr/bin"
RULES = ROOT / "deploy/prometheus"


def promtool(*arguments, data=None, folder=None):
    """Runs promtool; returns its exit code and all that it said."""
    done = subprocess.run(
        [TOOLS / "promtool", *arguments], input=data, capture_output=True, timeout=120, cwd=folder, text=True
    )
    return done.returncode, done.stdout + done.stderr


def families(page):
    """Type by name of every family on a page of metrics."""
    lines = [line.split() for line in page.splitlines() if line.startswith("# TYPE ")]
    return {name: kind for _, _, name, kind in lines}


class Prometheus(Service):
    """Debian's Prometheus, scraping one target once a second."""

    def __init__(self, folder, target):
        self.folder = pathlib.Path(folder)
        (self.folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            f"rule_files: [{RULES}/rules.yml]\n"
            "scrape_configs:\n"
            f"  - {{job_name: tollgate, static_configs: [{{targets: ['{target}']}}]}}\n"
        )
        address = free_address()
        arguments = [TOOLS / "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
        arguments += [f"--web.listen-address={address}", "--log.level=warn"]
        super().__init__(arguments, self.folder, address)

    def ask(self, path, **params):
        """What the API says, or why it cannot."""
        answer = self.session.get(f"{self.url}/api/v1/{path}", params=params, timeout=TIMEOUT).json()
        assert answer["status"] == "success", (params, answer)
        return answer["data"]

    def query(self, expression):
        """Labels and value of each series that an expression has now."""
        data = self.ask("query", query=expression)
        found = data["result"] if data["resultType"] == "vector" else [{"metric": {}, "value": data["result"]}]
        return [(series["metric"], float(series["value"][1])) for series in found]

    def labels(self, metric):
        """The names of all labels that a metric has."""
        return {label for series in self.ask("series", **{"match[]": metric}) for label in series} - {"__name__"}

    def rules(self):
        """Every rule as it was loaded."""
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]
