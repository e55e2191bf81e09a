"""The manifests of deploy/kustomize: valid, hardened, and in keeping with what the binary itself says of its settings."""

import itertools
import json
import pathlib
import shutil
import subprocess
import sys
import tomllib

import jsonschema
import kubernetes_validate
import pytest
import requests
import yaml

from kustomize import containers_of, render
from manifests import FOLDER, Rendered
from shipped import drained_in, memory_needed, seconds, size, tollgate
from world import BINARY, ROOT, TIMEOUT, Process

OVERLAYS = ["gateway", "gateway-shared", "sidecar", "name-override"]
# Native sidecars came with 1.29.
VERSIONS = ["1.29", kubernetes_validate.latest_version()]
CONFIGS = sorted(path.relative_to(ROOT) for name in ("config", "deploy") for path in (ROOT / name).rglob("*.toml"))

NAMES = {"type": "string", "minLength": 1}
ISSUER = {"type": "object", "required": ["name", "kind"], "additionalProperties": False,
          "properties": {"name": NAMES, "kind": {"enum": ["Issuer", "ClusterIssuer"]}, "group": NAMES}}
# What the manifests use of other projects' kinds, as their documentation has it: no published package carries them.
FOREIGN = {
    ("cert-manager.io/v1", "Issuer"): {
        "type": "object",
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
        "properties": {
            "selfSigned": {"type": "object", "maxProperties": 0},
            "ca": {"type": "object", "required": ["secretName"], "additionalProperties": False,
                   "properties": {"secretName": NAMES}},
        },
    },
    ("cert-manager.io/v1", "Certificate"): {
        "type": "object",
        "additionalProperties": False,
        "required": ["secretName", "issuerRef"],
        "properties": {
            "secretName": NAMES, "commonName": NAMES, "isCA": {"type": "boolean"}, "issuerRef": ISSUER,
            "duration": {"pattern": "^[0-9]+h$"}, "renewBefore": {"pattern": "^[0-9]+h$"},
            "dnsNames": {"type": "array", "items": NAMES}, "usages": {"const": ["server auth"]},
            "privateKey": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"algorithm": {"const": "ECDSA"}, "size": {"const": 256},
                               "rotationPolicy": {"enum": ["Always", "Never"]}},
            },
        },
    },
    ("monitoring.coreos.com/v1", "PodMonitor"): {
        "type": "object",
        "additionalProperties": False,
        "required": ["selector", "podMetricsEndpoints"],
        "properties": {
            "selector": {"type": "object"},
            "podMetricsEndpoints": {
                "type": "array",
                "items": {"type": "object", "additionalProperties": False,
                          "properties": {"port": NAMES, "path": NAMES, "interval": {"pattern": "^[0-9]+s$"}}},
            },
        },
    },
}


@pytest.fixture(params=OVERLAYS)
def rendered(request, tmp_path):
    return Rendered(request.param, tmp_path)


@pytest.fixture
def gateway(tmp_path):
    return Rendered("gateway", tmp_path)


@pytest.fixture(params=["gateway", "gateway-shared"])
def each_gateway(request, tmp_path):
    return Rendered(request.param, tmp_path)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid_for_the_oldest_and_the_newest_kubernetes(rendered, version):
    for found in rendered.objects:
        foreign = FOREIGN.get((found["apiVersion"], found["kind"]))
        if foreign:
            jsonschema.validate(found["spec"], foreign)
        else:
            kubernetes_validate.validate(found, version, strict=True)


def test_the_validation_sees_a_misspelt_field(gateway):
    gateway.container["livenessprobe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(gateway.workload, VERSIONS[0], strict=True)


def test_yamllint_has_nothing_to_say():
    command = [sys.executable, "-m", "yamllint", "--strict", "-c", ROOT / "deploy/.yamllint.yaml", FOLDER]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_real_kustomize_renders_the_same(overlay):
    commands = [["kustomize", "build"], ["kubectl", "kustomize"]]
    command = next((command for command in commands if shutil.which(command[0])), None)
    if command is None:
        pytest.skip("this machine has neither kustomize nor kubectl")
    done = subprocess.run([*command, FOLDER / "overlays" / overlay], capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
    theirs, ours = (
        {(found["kind"], found["metadata"]["name"]): found for found in objects}
        for objects in (yaml.safe_load_all(done.stdout), render(FOLDER / "overlays" / overlay))
    )
    assert theirs == ours


def test_every_component_is_used_by_an_overlay():
    used = [yaml.safe_load((FOLDER / "overlays" / name / "kustomization.yaml").read_text()) for name in OVERLAYS]
    named = {pathlib.Path(path).name for overlay in used for path in overlay["components"]}
    assert named == {path.name for path in (FOLDER / "components").iterdir()}


@pytest.mark.parametrize("path", CONFIGS, ids=str)
def test_every_shipped_configuration_is_accepted(path):
    # Beside the variables in which Kubernetes describes a Service called tollgate.
    link = "TOLLGATE_PORT_443_TCP"
    links = {"TOLLGATE_SERVICE_HOST": "192.0.2.1", "TOLLGATE_SERVICE_PORT": "443", "TOLLGATE_SERVICE_PORT_HTTPS": "443"}
    links |= {"TOLLGATE_PORT": "tcp://192.0.2.1:443", link: "tcp://192.0.2.1:443", f"{link}_PROTO": "tcp"}
    links |= {f"{link}_PORT": "443", f"{link}_ADDR": "192.0.2.1"}
    tollgate("check", "--config", ROOT / path, environment=links)


def test_the_probes_ask_what_the_binary_answers(rendered, tmp_path):
    metrics = rendered.settings["admin"]["metrics_listen"]
    assert metrics == f"0.0.0.0:{rendered.port(rendered.probes()['livenessProbe']['port'])}"
    # The shipped configuration but for what is not there: its addresses, its directories and its certificate.
    environment = {"TOLLGATE_ADMIN__METRICS_LISTEN": "127.0.0.1:0", "TOLLGATE_REPLAY__SPOOL_DIR": str(tmp_path)}
    environment |= {"TOLLGATE_LISTEN__TLS__CERT_FILE": "", "TOLLGATE_LISTEN__TLS__KEY_FILE": ""}
    environment |= {f"TOLLGATE_SHARE__{key}": "" for key in ("URL", "PASSWORD_FILE", "CA_FILE", "SECRET_FILE")}
    state = tmp_path / "state"
    arguments = [BINARY, *rendered.container["args"][:1], "--config", rendered.file, "--state-dir", state]
    for flag, key in (("--listen", "https"), ("--listen-http", "http")):
        arguments += [flag, "127.0.0.1:0"] if rendered.settings["listen"][key] else []
    process = Process([*arguments, "--admin", "127.0.0.1:0"], tmp_path, environment)
    try:
        process.wait_for_line("listening")
        address = json.loads((state / "ports.json").read_text())["metrics"]
        for probe in rendered.probes().values():
            answer = requests.get(f"http://{address}{probe['path']}", timeout=TIMEOUT)
            assert answer.status_code == 200, (probe, answer.text)
        assert requests.get(f"http://{address}/status", timeout=TIMEOUT).status_code == 404
    finally:
        process.stop()


def test_the_container_reads_the_configuration_that_is_mounted(rendered):
    command, flag, path = rendered.container["args"]
    mount = next(mount for mount in rendered.container["volumeMounts"] if mount["name"] == "tollgate-config")
    assert (command, flag, path) == ("run", "--config", f"{mount['mountPath']}/{rendered.file_name}")
    # With subPath the kubelet would never bring a new configuration.
    assert not any("subPath" in mount for mount in rendered.container["volumeMounts"])


def test_a_drain_ends_before_the_pod_is_killed(rendered):
    assert drained_in(rendered.settings) < rendered.pod["terminationGracePeriodSeconds"]


def test_readiness_is_seen_before_the_listener_closes(each_gateway):
    probe = each_gateway.container["readinessProbe"]
    seen_in = (probe["periodSeconds"] + probe["timeoutSeconds"]) * probe["failureThreshold"]
    assert seen_in < seconds(each_gateway.settings["shutdown"]["delay"])


def test_the_memory_limit_covers_what_the_settings_allow(rendered):
    needed = memory_needed(rendered.settings)
    resources = rendered.container["resources"]
    assert needed <= size(resources["limits"]["memory"]) <= 1.5 * needed
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    assert "cpu" not in resources["limits"]


def test_the_volumes_hold_what_the_settings_write(rendered):
    spool = rendered.volume_at(rendered.settings["replay"]["spool_dir"])
    state = rendered.volume_at(rendered.settings["state_dir"])
    volumes = [size(volume["emptyDir"]["sizeLimit"]) for volume in (spool, state)]
    assert size(rendered.settings["replay"]["spool_size"]) * 1.25 <= volumes[0]
    assert sum(volumes) <= size(rendered.container["resources"]["requests"]["ephemeral-storage"])


def test_no_container_may_more_than_it_needs(rendered):
    container = rendered.container["securityContext"]
    own = rendered.pod.get("securityContext", {}) | container
    assert own["runAsNonRoot"] is True
    assert own["runAsUser"] > 0
    assert own["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["readOnlyRootFilesystem"] is True
    assert container["allowPrivilegeEscalation"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}


def test_the_image_is_of_this_version(rendered):
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    assert rendered.container["image"] == f"registry.example/tollgate:{version}"


@pytest.mark.parametrize("name", ["sidecar", "name-override"])
def test_a_sidecar_starts_before_the_bots_and_does_not_decide_their_readiness(name, tmp_path):
    rendered = Rendered(name, tmp_path)
    assert rendered.container in rendered.pod["initContainers"]
    assert rendered.container["restartPolicy"] == "Always"
    assert set(rendered.probes()) == {"startupProbe", "livenessProbe"}
    assert rendered.probes()["startupProbe"]["path"] == "/readyz"
    assert rendered.settings["listen"]["http"] == "127.0.0.1:8080"


def test_the_bot_of_the_sidecar_is_told_its_address(tmp_path):
    rendered = Rendered("sidecar", tmp_path)
    (bot,) = (each for each in containers_of(rendered.workload) if each["name"] == "bot")
    told = {each["name"]: each.get("value") for each in bot["env"]}
    assert told["WEBEX_BASE_URL"] == f"http://{rendered.settings['listen']['http']}/v1/"


def test_an_overridden_name_leads_to_the_sidecar_and_past_it_for_the_sidecar_alone(tmp_path):
    rendered = Rendered("name-override", tmp_path)
    ((alias),) = rendered.pod["hostAliases"]
    names = alias["hostnames"]
    listen, upstream = rendered.settings["listen"], rendered.settings["upstream"]
    assert listen["https"] == f"{alias['ip']}:443"
    assert listen["tls"]["names"] == names
    assert [f"https://{name}" for name in names] == [upstream["url"], *upstream["aliases"]]
    assert upstream["resolve"] == "dns"
    sysctls = {each["name"]: each["value"] for each in rendered.pod["securityContext"]["sysctls"]}
    assert int(sysctls["net.ipv4.ip_unprivileged_port_start"]) <= 443
    (bot,) = (each for each in containers_of(rendered.workload) if each["name"] == "bot")
    (mount,) = bot["volumeMounts"]
    state = pathlib.Path(rendered.settings["state_dir"]).relative_to("/var/lib/tollgate")
    assert mount["subPath"] == f"{state}/ca.pem"
    assert {"name": "REQUESTS_CA_BUNDLE", "value": mount["mountPath"]} in bot["env"]


def test_the_gateway_is_one_gate_and_lets_nodes_drain(gateway):
    spec = gateway.workload["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
    (budget,) = gateway.all("PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1
    assert "minAvailable" not in budget["spec"]
    assert not gateway.all("HorizontalPodAutoscaler")


def test_the_gateways_parts_speak_of_the_same_names_and_ports(each_gateway):
    spec = each_gateway.workload["spec"]
    labels = spec["template"]["metadata"]["labels"]
    ports = {port["name"]: port["containerPort"] for port in each_gateway.container["ports"]}
    named = {kind: each_gateway.named(kind, "tollgate") for kind in ("Service", "NetworkPolicy", "PodMonitor")}
    service, policy, monitor = named.values()
    (budget,) = each_gateway.all("PodDisruptionBudget")
    selectors = [spec["selector"], policy["spec"]["podSelector"], budget["spec"]["selector"]]
    for selector in [service["spec"]["selector"], *(each["matchLabels"] for each in selectors)]:
        assert selector.items() <= labels.items()
    ((expression),) = monitor["spec"]["selector"]["matchExpressions"]
    assert labels[expression["key"]] in expression["values"]
    assert service["spec"]["ports"][0]["targetPort"] in ports
    opened = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
    assert opened == set(ports)
    assert monitor["spec"]["podMetricsEndpoints"][0]["port"] in ports
    assert each_gateway.settings["listen"]["https"] == f"0.0.0.0:{ports['https']}"


def test_the_gateways_certificate_carries_the_names_that_are_answered(each_gateway):
    (serving,) = (each for each in each_gateway.all("Certificate") if each["metadata"]["name"] == "tollgate")
    assert serving["spec"]["dnsNames"] == each_gateway.settings["listen"]["hosts"]
    tls = each_gateway.settings["listen"]["tls"]
    for key, file in (("cert_file", "tls.crt"), ("key_file", "tls.key")):
        volume = each_gateway.volume_at(tls[key])
        assert (volume["secret"]["secretName"], pathlib.Path(tls[key]).name) == (serving["spec"]["secretName"], file)
    namespace = each_gateway.workload["metadata"]["namespace"]
    service = each_gateway.named("Service", "tollgate")["metadata"]["name"]
    parts = [service, namespace, "svc", "cluster.local"]
    assert each_gateway.settings["listen"]["hosts"] == list(itertools.accumulate(parts, "{}.{}".format))


def test_a_tenants_token_is_read_where_its_secret_is_mounted(gateway, tmp_path):
    lines = gateway.file.read_text().splitlines()
    example = [line.removeprefix("# ") for line in lines[lines.index("# [[tenant]]") :]]
    path = tmp_path / "named.toml"
    path.write_text("\n".join(example))
    tollgate("check", "--config", path)
    (file,) = tomllib.loads(path.read_text())["tenant"][0]["token_files"]
    assert gateway.volume_at(file)["secret"] == {"secretName": "tollgate-tokens", "defaultMode": 0o440, "optional": True}


def test_the_sidecars_metrics_are_scraped(tmp_path, gateway):
    sidecar = Rendered("sidecar", tmp_path)
    (monitor,) = gateway.all("PodMonitor")
    ((expression),) = monitor["spec"]["selector"]["matchExpressions"]
    assert sidecar.workload["spec"]["template"]["metadata"]["labels"][expression["key"]] in expression["values"]
    wanted = {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]}
    assert {port["name"] for port in sidecar.container["ports"]} <= wanted
