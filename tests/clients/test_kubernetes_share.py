"""The overlay of replicas that share their limits: its parts fit each other, and a real server takes its configuration."""

import hashlib
import math
import pathlib
import re
import tomllib

import pytest
import redis

from kustomize import containers_of
from manifests import FOLDER, Rendered
from redis_servers import Redis, free_port, tls_of
from shipped import size
from world import ROOT, wait_until

MANUAL = ROOT / "docs/scaling.md"


@pytest.fixture
def shared(tmp_path):
    return Rendered("gateway-shared", tmp_path)


def secret_keys(volume):
    """The Secrets of a projected volume and the keys that are taken from each; none: all."""
    sources = [source["secret"] for source in volume["projected"]["sources"]]
    return {source["name"]: [item["key"] for item in source.get("items", [])] for source in sources}


def rules(policy, direction, peer):
    """Ports that a policy opens towards the pods named in it, by their label."""
    for rule in policy["spec"].get(direction, []):
        for one in rule["from" if direction == "ingress" else "to"]:
            if one.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/name") == peer:
                yield from (port["port"] for port in rule["ports"])


def test_a_rolling_update_adds_a_replica_before_it_takes_one(shared):
    spec = shared.workload["spec"]
    assert spec["replicas"] >= 2
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert shared.settings["share"]["expected_replicas"] == spec["replicas"]
    (spread,) = spec["template"]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


def test_nodes_drain_while_half_of_the_replicas_stay(shared):
    (budget,) = shared.all("PodDisruptionBudget")
    kept = math.ceil(shared.workload["spec"]["replicas"] * int(budget["spec"]["minAvailable"].rstrip("%")) / 100)
    assert 1 <= kept < shared.workload["spec"]["replicas"]
    assert "maxUnavailable" not in budget["spec"]


def test_the_shared_gateway_differs_from_the_single_one_by_share_alone(shared):
    single = tomllib.loads((FOLDER / "base/tollgate.toml").read_text())
    ours = tomllib.loads(shared.file.read_text())
    assert ours.pop("share")
    assert ours == single


def test_the_files_of_share_come_from_their_secrets(shared):
    share = shared.settings["share"]
    volumes = {key: shared.volume_at(share[key]) for key in ("password_file", "secret_file", "ca_file")}
    (volume,) = {volume["name"]: volume for volume in volumes.values()}.values()
    certificate = shared.named("Certificate", "valkey")["spec"]
    assert secret_keys(volume) == {"tollgate-share": [], certificate["secretName"]: ["ca.crt"]}
    assert {pathlib.Path(share[key]).name for key in volumes} == {"password", "secret", "ca.crt"}
    # The commands of the manual make these Secrets.
    for name in ("tollgate-share", "valkey-users"):
        assert f"create secret generic {name} " in MANUAL.read_text()
    for key in ("password", "secret", "users.acl"):
        assert f"--from-literal={key}=" in MANUAL.read_text()


def test_the_replicas_find_valkey_and_nobody_else_may(shared):
    service = shared.named("Service", "valkey")
    valkey = shared.named("Deployment", "valkey")
    labels = valkey["spec"]["template"]["metadata"]["labels"]
    (container,) = containers_of(valkey)
    (port,) = container["ports"]
    host, number = re.fullmatch(r"rediss://([\w.-]+):(\d+)", shared.settings["share"]["url"]).groups()
    assert (host, int(number)) == (service["metadata"]["name"], service["spec"]["ports"][0]["port"])
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert shared.named("Certificate", "valkey")["spec"]["dnsNames"] == [host]
    way, entrance = shared.named("NetworkPolicy", "tollgate-to-valkey"), shared.named("NetworkPolicy", "valkey")
    assert way["spec"]["podSelector"]["matchLabels"].items() <= shared.workload["spec"]["template"]["metadata"]["labels"].items()
    assert list(rules(way, "egress", labels["app.kubernetes.io/name"])) == [port["name"]]
    assert list(rules(entrance, "ingress", "tollgate")) == [port["name"]]
    assert entrance["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert len(entrance["spec"]["ingress"]) == 1 and "egress" not in entrance["spec"]


def test_two_valkeys_never_run_at_once_and_may_no_more_than_they_need(shared):
    valkey = shared.named("Deployment", "valkey")
    assert (valkey["spec"]["replicas"], valkey["spec"]["strategy"]["type"]) == (1, "Recreate")
    pod = valkey["spec"]["template"]["spec"]
    (container,) = containers_of(valkey)
    own = pod["securityContext"] | container["securityContext"]
    assert own["runAsNonRoot"] is True and own["readOnlyRootFilesystem"] is True
    assert own["allowPrivilegeEscalation"] is False and own["capabilities"] == {"drop": ["ALL"]}
    assert own["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert "cpu" not in container["resources"]["limits"]
    conf = shared.named("ConfigMap", "valkey")["data"]["valkey.conf"]
    most = int(re.search(r"^maxmemory (\d+)mb$", conf, re.M)[1]) * 1024 * 1024
    assert 2 * most <= size(container["resources"]["limits"]["memory"]) == size(container["resources"]["requests"]["memory"])
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    named = re.findall(r"^(?:tls-\w+-(?:cert-)?file|aclfile) (\S+)$", conf, re.M)
    assert len(named) == 4 and {str(pathlib.Path(path).parent) for path in named} <= mounted
    assert container["command"][1] in {f"{mount}/valkey.conf" for mount in mounted}


def user_of_the_manual(password):
    """The line of users.acl that the manual's command writes."""
    (line,) = re.findall(r"user tollgate on #\$\(.*?\) (.+?)\"", MANUAL.read_text())
    return f"user default off\nuser tollgate on #{hashlib.sha256(password.encode()).hexdigest()} {line}\n"


def test_a_real_server_takes_the_configuration_and_the_user_of_the_manual(shared, folder, pair):
    place = folder("valkey")
    certificate, key = tls_of(place)
    (place / "users.acl").write_text(user_of_the_manual("a password"))
    (place / "password").write_text("a password\n")
    (place / "secret").write_text("a secret of thirty-two bytes, or more")
    files = {"tls-cert-file": certificate, "tls-key-file": key, "tls-ca-cert-file": certificate, "aclfile": place / "users.acl"}
    conf = shared.named("ConfigMap", "valkey")["data"]["valkey.conf"]
    lines = dict(line.split(" ", 1) for line in conf.splitlines() if line and not line.startswith("#"))
    assert files.keys() <= lines.keys()
    server = Redis(place, **(lines | files | {"tls-port": free_port()}))
    try:
        share = shared.settings["share"] | {"url": server.url(), "ca_file": str(certificate)}
        share |= {"password_file": str(place / "password"), "secret_file": str(place / "secret")}
        _, proxy = pair(tables={"share": share})
        wait_until(lambda: "tollgate_share_up 1" in proxy.metrics(), what="a connection to the server")
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=server.tls_port, ssl=True, ssl_ca_certs=str(certificate), ssl_check_hostname=False).ping()
    finally:
        server.stop()
