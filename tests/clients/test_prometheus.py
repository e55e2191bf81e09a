"""Metrics, dashboard and alert rules, judged by a real Prometheus that scrapes the binary while bots are busy."""

import concurrent.futures
import contextlib
import hashlib
import json
import re
import threading

import pytest
import requests

from prometheus import RULES, TOOLS, Prometheus, families, promtool
from redis_servers import Redis
from sim import Sim
from world import ROOT, Proxy, curl, wait_until

ME = "/v1/people/me"
DASHBOARD = ROOT / "deploy/grafana/tollgate.json"
HANDBOOK = ROOT / "docs/operating.md"
BOTS = ["noisy", "calm", "vip"]


def tenant(name, rest=""):
    hashed = hashlib.sha256(name.encode()).hexdigest()
    return f'[[tenant]]\nname = "{name}"\ntoken_sha256 = ["{hashed}"]\n{rest}\n'


class Traffic:
    """Bots that do a bit of everything until told to stop; `noisy` is the one whom the API throttles."""

    def __init__(self, sim, proxy):
        self.sim, self.proxy = sim, proxy
        self.is_over = threading.Event()
        for name in [*BOTS, "stranger"]:
            sim.person(name, email=f"{name}@example.com")
        self.room = sim.room("calm", kms=1000)
        self.file = sim.upload("calm", self.room, "example.png", "image/png", 5000)
        self.failures = []
        duties = [self.noisy, self.calm, self.vip, self.stranger, self.unlucky]
        self.threads = [threading.Thread(target=self._work, args=(duty,), daemon=True) for duty in duties]
        for thread in self.threads:
            thread.start()

    def _work(self, duty):
        while not self.is_over.wait(0.1):
            try:
                duty()
            except Exception as error:  # a thread's failure must reach the test
                self.failures.append(repr(error))
                return

    def noisy(self):
        self.sim.force("GET", ME, 429, user="noisy@example.com", headers={"Retry-After": "1"})
        self.proxy.bot("noisy").get(ME)

    def calm(self):
        bot = self.proxy.bot("calm")
        bot.get(ME)
        bot.get(self.file)
        bot.get(f"/v1/rooms/{self.room}")

    def vip(self):
        self.proxy.bot("vip").get(ME)

    def stranger(self):
        self.proxy.bot("stranger").get(ME, headers={"Prefer": "wait=0"})
        self.proxy.bot("no-one-knows").get("/v1/rooms")

    def unlucky(self):
        self.sim.force("POST", "/v1/rooms", 502)
        self.proxy.bot("stranger").post("/v1/rooms", json={"title": "t"})
        self.sim.force("GET", "/v1/teams", 429, headers={"Retry-After": "soon"})
        with contextlib.suppress(requests.Timeout):
            self.proxy.bot("stranger").get("/v1/teams", timeout=0.5)
        curl(f"{self.proxy.base}{ME}", code=60)
        self.is_over.wait(1)

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join(timeout=40)
        assert not self.failures, self.failures


@pytest.fixture(scope="module")
def proxy(folder):
    """A proxy whose every metric has something to tell, with bots at work."""
    assert (TOOLS / "promtool").exists(), "run bash tests/prometheus.sh first"
    sim, redis = Sim(folder("sim")), Redis(folder("redis"))
    config = tenant("noisy") + tenant("calm") + tenant("vip", "bypass = true")
    secret = redis.folder / "secret"
    secret.write_text("a secret of the deployment, for tests alone")
    share = {"url": redis.url(), "secret_file": str(secret)}
    tables = {"gate": {"start_rate": 1000, "ceiling": 500}, "share": share}
    proxy = Proxy(folder("proxy"), sim.https_address, sim.ca, config=config, tables=tables)
    traffic = Traffic(sim, proxy)
    yield proxy
    try:
        traffic.stop()
    finally:
        proxy.stop()
        sim.stop()
        redis.stop()


@pytest.fixture(scope="module")
def prometheus(proxy, folder):
    prometheus = Prometheus(folder("prometheus"), proxy.admin_address)
    # Enough samples for every rate below, and something of everything.
    for query in [
        "count_over_time(tollgate_build_info[1m]) >= 8",
        "tollgate_gate_verdict",
        'tollgate_replays_total{outcome="answered"} > 0',
        "tollgate_retry_after_malformed_total > 0",
        'tollgate_cache_requests_total{outcome="hit"} > 0',
        'tollgate_partial_failures_total{code="kms_failure"} > 0',
        'tollgate_tls_handshake_failures_total{reason="untrusted"} > 0',
        'tollgate_queue_refused_total{reason="deadline"} > 0',
        "tollgate_queue_observed_wait_seconds_count > 0",
        "tollgate_client_gone_total > 0",
        "increase(tollgate_retry_after_seconds_count[10s]) > 0",
        "tollgate_share_up == 1",
        "increase(tollgate_share_call_duration_seconds_count[10s]) > 0",
    ]:
        wait_until(lambda query=query: prometheus.query(query), seconds=40, what=query)
    yield prometheus
    prometheus.stop()


def panels():
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def expressions():
    """Every query of the dashboard as Prometheus gets it, with its legend."""
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "10s").replace("$__range", "1m")
            expression = expression.replace("$job", "tollgate").replace("$instance", "127.0.0.1:.*")
            yield panel["title"], expression, target["legendFormat"]


def named(expression):
    """The exported metrics that an expression names; what a rule records is none."""
    return set(re.findall(r"(?<![\w:])(?:tollgate|process)_\w+", expression))


def assert_known(prometheus, where, expression):
    """Every metric exists in the scrape, and so does every label that the expression uses."""
    known = {metric: prometheus.labels(metric) for metric in named(expression)}
    missing = [metric for metric, labels in known.items() if not labels]
    assert not missing, (where, expression, missing)
    for metric, matchers in re.findall(r"(?<![\w:])((?:tollgate|process)_\w+)\{([^}]*)\}", expression):
        used = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        assert used <= known[metric], (where, metric, used - known[metric])
    grouped = {label.strip() for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for label in group.split(",")}
    if known:
        assert grouped <= set.union(*known.values()), (where, expression, grouped)


def test_promtool_finds_nothing_in_a_live_scrape(prometheus, proxy):
    assert promtool("check", "metrics", data=proxy.metrics()) == (0, "")


def test_no_series_has_both_tenant_and_route(prometheus, proxy):
    for line in proxy.metrics().splitlines():
        assert not ('tenant="' in line and 'route="' in line), line


def test_one_query_names_the_bot_that_is_throttled(prometheus):
    query = "topk(1, sum by (tenant) (increase(tollgate_upstream_throttled_total[1m])))"
    wait_until(lambda: [labels for labels, _ in prometheus.query(query)] == [{"tenant": "noisy"}], what=query)


def test_every_panel_asks_for_what_is_there(prometheus):
    for title, expression, legend in expressions():
        assert_known(prometheus, title, expression)
        found = prometheus.query(expression)
        assert found, (title, expression)
        for labels, _ in found:
            assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= labels.keys(), (title, legend, labels)


def test_every_panel_says_what_it_shows():
    dashboard = json.loads(DASHBOARD.read_text())
    variables = {variable["name"]: variable["type"] for variable in dashboard["templating"]["list"]}
    assert variables == {"datasource": "datasource", "job": "query", "instance": "query"}
    rows = [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"]
    assert rows[0] == "Who is gated, and until when"
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels():
        assert panel["description"] and panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}", panel["title"]
            assert set(re.findall(r"\[([^\]]*)\]", target["expr"])) <= {"$__rate_interval", "$__range"}, target
            selectors = re.findall(r"(?:tollgate|process)_\w+(\{[^}]*\})?", target["expr"])
            assert all('job=~"$job",instance=~"$instance"' in selector for selector in selectors), target


def test_every_rule_is_valid_and_asks_for_what_is_there(prometheus):
    wait_until(lambda: all(rule["health"] == "ok" for rule in prometheus.rules()), what="the first evaluation")
    recorded = {rule["name"] for rule in prometheus.rules() if rule["type"] == "recording"}
    for rule in prometheus.rules():
        assert_known(prometheus, rule["name"], rule["query"])
        used = set(re.findall(r"\bjob:[\w:]+", rule["query"]))
        assert used <= recorded, (rule["name"], used - recorded)
    for name in recorded:
        assert prometheus.query(name), name


def test_promtool_accepts_the_rules_and_their_tests():
    for arguments in [["check", "rules", "rules.yml"], ["test", "rules", "tests.yml", "tests-days.yml"]]:
        code, said = promtool(*arguments, folder=RULES)
        assert code == 0 and "SUCCESS" in said, said


def test_every_alert_fires_in_a_test(prometheus):
    told = "".join((RULES / name).read_text() for name in ["tests.yml", "tests-days.yml"])
    firing = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n", told))
    assert firing == {rule["name"] for rule in prometheus.rules() if rule["type"] == "alerting"}


def test_every_alert_has_a_runbook(prometheus):
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", HANDBOOK.read_text(), re.M)}
    for rule in prometheus.rules():
        if rule["type"] == "alerting":
            notes = rule["annotations"]
            assert notes["summary"] and notes["description"] and rule["labels"]["severity"] in ("critical", "warning")
            page, _, anchor = notes["runbook_url"].partition("#")
            assert page == "docs/operating.md" and anchor in anchors, (rule["name"], notes["runbook_url"])


def test_the_handbook_explains_each_metric_and_no_other(prometheus, proxy):
    explained = re.findall(r"^\| `((?:tollgate|process)_\w+)` \| (\w+)", HANDBOOK.read_text(), re.M)
    assert len(explained) == len(dict(explained))
    assert dict(explained) == families(proxy.metrics())


def test_the_handbook_explains_each_field_of_a_log_line(prometheus, proxy):
    log = HANDBOOK.read_text().split("## Log")[1]
    explained = {field for row in re.findall(r"^\| (`.+?`) \|", log, re.M) for field in re.findall("`([^`]+)`", row)}
    lines = [entry for entry in proxy.log() if entry.get("message") == "request"]
    written = {field for line in lines for field in line}
    assert {"observed_wait_ms", "retry_after", "error", "webex_tracking_id"} <= written
    assert written <= explained, written - explained


def test_the_handbook_names_settings_that_exist():
    tables = re.findall(r"^## `\[+([\w.]+)\]+`.*\n([^#]*)", (ROOT / "docs/configuration.md").read_text(), re.M)
    keys = {f"{section}.{key}" for section, table in tables for key in re.findall(r"^\| `(\w+)` \|", table, re.M)}
    sections = "|".join(sorted({section.split(".")[0] for section, _ in tables}))
    named = set(re.findall(rf"`((?:{sections})\.[a-z_.]+)", HANDBOOK.read_text()))
    assert len(named) > 8 and named <= keys, named - keys


def test_thousands_of_tokens_and_paths_leave_the_label_space_as_it_was(pair):
    wide = {"start_rate": 1_000_000, "probation_rate": 1_000_000, "probation_burst": 10_000}
    _, proxy = pair(tables={"gate": wide})

    def ask(number):
        headers = {"Authorization": f"Bearer odd-token-{number}", "TrackingID": f"odd-id-{number}"}
        method = ["GET", "HEAD", "PURGE"][number % 3]
        with requests.Session() as session:
            session.trust_env = False
            url = f"{proxy.plain}/v1/odd-path-{number}/x{number}"
            return session.request(method, url, headers=headers, timeout=30).status_code

    def ask_all(numbers):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            return set(pool.map(ask, numbers))

    def series():
        return {line.rsplit(" ", 1)[0] for line in proxy.metrics().splitlines()}

    assert ask_all(range(100)) <= {401, 404, 405, 429}
    before = series()
    ask_all(range(100, 3000))
    assert series() == before
    assert "odd" not in proxy.metrics() and "PURGE" not in proxy.metrics()
