"""SIGHUP: new settings of the gate and the tenants are in force, and nobody in line notices."""

import concurrent.futures
import hashlib
import signal

import pytest

from world import toml_of, wait_until

ME = "/v1/people/me"
RELOADED = "tollgate_config_last_reload_successful"


def reload(proxy, text, line="configuration reloaded"):
    """Writes the file anew and waits for what the proxy says to it."""
    (proxy.folder / "tollgate.toml").write_text(text)
    proxy.child.send_signal(signal.SIGHUP)
    return proxy.wait_for_line(line)


@pytest.fixture
def world(pair, token):
    """A simulator, a proxy, and what makes the text of its configuration."""
    sim, proxy = pair()
    sim.person(token)

    def text(tenants="", **tables):
        plain = {"shutdown": {"delay": "0s", "drain": "2s"}, "upstream": {"connect": [sim.https_address]}}
        return toml_of(plain | tables) + "\n" + tenants

    return sim, proxy, text


def tenant(name, token, **more):
    rest = toml_of({"x": more}).removeprefix("[x]") if more else ""
    return f'[[tenant]]\nname = "{name}"\ntoken_sha256 = ["{hashlib.sha256(token.encode()).hexdigest()}"]{rest}\n'


def test_who_waits_is_answered_and_who_comes_finds_the_new_rules(world, token):
    sim, proxy, text = world
    sim.force("GET", ME, 429, headers={"Retry-After": "3"})
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(proxy.bot(token).get, ME)
        wait_until(lambda: sim.count("GET", ME) == 1, what="the refusal")
        assert proxy.bot(token).get(ME, headers={"Prefer": "wait=0"}).status_code == 429
        reload(proxy, text(gate={"max_wait": "1s"}))
        # The gate is still closed: what it learned has stayed, and the new patience is too short for it.
        refused = proxy.bot(token).get(ME)
        assert refused.status_code == 429
        assert refused.elapsed.total_seconds() < 1
        assert waiter.result().status_code == 200
    assert sim.statuses("GET", ME) == [429, 200]
    assert f"{RELOADED} 1" in proxy.metrics()


def test_new_tenants_and_who_is_admitted_hold_at_once(world, token):
    sim, proxy, text = world
    sim.person(f"{token}-stranger")
    for one in [token, f"{token}-stranger"]:
        assert proxy.bot(one).get(ME).status_code == 200
    reload(proxy, text(tenant("alerts", token, weight=3), gate={"admit": "listed"}))
    assert proxy.bot(token).get(ME).status_code == 200
    assert proxy.bot(f"{token}-stranger").get(ME).status_code == 403
    assert 'tenant="alerts"' in proxy.metrics()
    reload(proxy, text())
    assert proxy.bot(f"{token}-stranger").get(ME).status_code == 200


@pytest.mark.parametrize(
    "fault", ["[gate", '[gate]\nmax_wait = "soon"\n', '[[tenant]]\nname = "a"\ntoken_files = ["/nowhere"]\n']
)
def test_a_broken_file_changes_nothing(world, token, fault):
    sim, proxy, text = world
    reload(proxy, text(tenant("alerts", token), gate={"admit": "listed"}))
    line = reload(proxy, text() + fault, "configuration not reloaded")
    assert '"level":"ERROR"' in line
    assert f"{RELOADED} 0" in proxy.metrics()
    assert proxy.bot(token).get(ME).status_code == 200
    assert proxy.bot(f"{token}-stranger").get(ME).status_code == 403
    reload(proxy, text())
    assert f"{RELOADED} 1" in proxy.metrics()
    sim.person(f"{token}-stranger")
    assert proxy.bot(f"{token}-stranger").get(ME).status_code == 200


def test_what_needs_a_restart_is_named(world, token):
    _, proxy, text = world
    line = reload(proxy, text(log={"level": "debug"}, gate={"max_wait": "9s"}), "configuration reloaded in part")
    assert '"needs_restart":"log"' in line and '"level":"WARN"' in line
    assert proxy.bot(token).get(ME).status_code == 200
