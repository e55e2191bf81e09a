"""What carries the binary to a machine: the image, the systemd unit and the Debian package, and what they promise."""

import contextlib
import fnmatch
import re
import signal
import socket
import subprocess
import sys
import tomllib

import pytest

from shipped import drained_in, files_needed, memory_needed, settings, size
from world import BINARY, ROOT, TIMEOUT, Process

CARGO = tomllib.loads((ROOT / "Cargo.toml").read_text())
PACKAGE = CARGO["package"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
UNIT = ROOT / "deploy/systemd/tollgate.service"


def instructions(name):
    """The arguments of all instructions of that name, lines joined."""
    text = DOCKERFILE.replace("\\\n", " ")
    return [line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith(f"{name} ")]


def unit():
    """The unit's settings; of one that stands there several times, all values."""
    found = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


@contextlib.contextmanager
def manager(address):
    """A service manager's end of NOTIFY_SOCKET: yields what waits for its next message."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address.replace("@", "\0", 1))
        receiver.settimeout(TIMEOUT)
        yield lambda: receiver.recv(1024).decode()


def test_hadolint_has_nothing_to_say():
    binary = f"{sys.prefix}/bin/hadolint"
    done = subprocess.run([binary, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stdout


def test_the_image_is_built_from_what_the_context_holds():
    context = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    wanted = [word for line in instructions("COPY") if "--from" not in line for word in line.split()[:-1]]
    for path in wanted:
        assert (ROOT / path).exists(), path
        assert any(path == each or path.startswith(f"{each}/") for each in context), f"{path} is kept out"
    copied = {path.split("/")[0] for path in wanted}
    # Tests are not compiled there.
    sources = [path for path in (ROOT / "src").rglob("*.rs") if "tests" not in path.parts and path.name != "tests.rs"]
    for source in sources:
        for outside in re.findall(r'include_(?:str|bytes)!\("((?:\.\./)+[^"]+)"', source.read_text()):
            target = (source.parent / outside).resolve().relative_to(ROOT)
            assert target.parts[0] in copied, f"{source} needs {target}"


def test_the_image_has_the_targets_that_cargo_looks_for():
    sources = {target["path"] for kind in ("test", "bench") for target in CARGO[kind]}
    for path in sources:
        assert path in DOCKERFILE, path


def test_the_image_runs_a_user_without_rights_on_directories_of_its_own():
    (user,) = instructions("USER")
    assert user == "65532:65532"
    inside = settings(ROOT / "deploy/docker/tollgate.toml")
    owned = [line.split()[-1] for line in instructions("COPY") if f"--chown={user}" in line]
    for path in (inside["state_dir"], inside["replay"]["spool_dir"]):
        assert any(path.startswith(each) for each in owned), path
    ports = {address.rsplit(":", 1)[1] for address in (inside["listen"]["https"], inside["admin"]["metrics_listen"])}
    assert set(instructions("EXPOSE")[0].split()) == ports
    assert instructions("FROM")[-1] == "scratch"


def test_the_image_is_built_with_a_compiler_that_suffices():
    (argument,) = instructions("ARG")
    offered, needed = (
        [int(part) for part in text.split(".")[:2]] for text in (argument.partition("=")[2], PACKAGE["rust-version"])
    )
    assert offered >= needed


@pytest.mark.parametrize("instruction", ["CMD", "HEALTHCHECK"])
def test_the_image_calls_commands_that_exist(instruction):
    command = re.findall(r'"([a-z-]+)"\]$', instructions(instruction)[0])[0]
    known = subprocess.run([BINARY, "--help"], capture_output=True, text=True, timeout=TIMEOUT).stdout
    if command == "healthcheck" and command not in known:
        pytest.skip("this binary has no healthcheck yet")
    assert re.search(rf"^  {command}\b", known, re.MULTILINE), known


def test_systemd_finds_little_exposed():
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", UNIT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_systemd_understands_the_unit(tmp_path):
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/bin/tollgate", str(BINARY)))
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", copy]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_units_limits_cover_what_the_defaults_allow(tmp_path):
    (tmp_path / "empty.toml").write_text("")
    defaults, wanted = settings(tmp_path / "empty.toml"), {name: values[0] for name, values in unit().items()}
    assert drained_in(defaults) < int(wanted["TimeoutStopSec"])
    assert memory_needed(defaults) <= size(wanted["MemoryMax"] + "iB")
    assert files_needed(defaults) <= int(wanted["LimitNOFILE"])


def test_the_package_installs_what_there_is():
    deb = PACKAGE["metadata"]["deb"]
    built = "target/release/tollgate"
    for source, _, _ in deb["assets"]:
        assert source == built or list(ROOT.glob(source)), source
    placed = {target if not target.endswith("/") else target + source.split("/")[-1] for source, target, _ in deb["assets"]}
    for file in deb["conf-files"]:
        assert file.lstrip("/") in placed, file
    (command,) = unit()["ExecStart"]
    assert command.split()[0].lstrip("/") in placed
    assert command.split()[command.split().index("--config") + 1] in deb["conf-files"]
    assert UNIT.parent == ROOT / deb["systemd-units"]["unit-scripts"]
    assert fnmatch.filter([path.name for path in (ROOT / deb["maintainer-scripts"]).iterdir()], "p*")


def test_the_package_makes_the_directory_of_credentials_that_the_unit_loads():
    (credentials,) = unit()["LoadCredential"]
    directory = credentials.partition(":")[2]
    scripts = ROOT / PACKAGE["metadata"]["deb"]["maintainer-scripts"]
    assert f"mkdir -m 0700 {directory}" in (scripts / "postinst").read_text()
    assert directory in (scripts / "postrm").read_text()


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_a_service_manager_hears_ready_reloading_and_stopping(kind, tmp_path):
    address = str(tmp_path / "notify") if kind == "path" else f"@tollgate-{tmp_path.name}-{id(tmp_path)}"
    config = tmp_path / "tollgate.toml"
    config.write_text('[shutdown]\ndelay = "0s"\n')
    arguments = [BINARY, "run", "--config", config, "--state-dir", tmp_path / "state"]
    arguments += ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    with manager(address) as heard:
        process = Process(arguments, tmp_path, {"NOTIFY_SOCKET": address})
        try:
            assert heard() == "READY=1"
            process.child.send_signal(signal.SIGHUP)
            assert [heard(), heard()] == ["RELOADING=1", "READY=1"]
            # A configuration that cannot be read ends the reload as well.
            config.write_text("nonsense = 1\n")
            process.child.send_signal(signal.SIGHUP)
            assert [heard(), heard()] == ["RELOADING=1", "READY=1"]
            process.child.send_signal(signal.SIGTERM)
            assert heard() == "STOPPING=1"
            assert process.child.wait(TIMEOUT) == 0
        finally:
            process.stop()


@pytest.mark.parametrize("address", ["/nowhere/notify", "vsock:2:1234"])
def test_a_service_manager_that_cannot_be_told_changes_nothing(address, tmp_path):
    arguments = [BINARY, "run", "--state-dir", tmp_path / "state"]
    arguments += ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    process = Process(arguments, tmp_path, {"NOTIFY_SOCKET": address, "TOLLGATE_SHUTDOWN__DELAY": "0s"})
    try:
        process.wait_for_line("service manager not told")
    finally:
        assert process.stop() == 0
