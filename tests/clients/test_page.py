"""The live page in a real browser: who is gated and until when, on every screen, for everybody."""

import json
import re
import time

import pytest

from browser import Browser
from sim import Sim
from traffic import WATCHDOG, Traffic, named, refuse, token_of
from world import Proxy, wait_until

LONG = "a-tenant-whose-name-has-exactly-sixty-four-letters-0123456789-ab"
NAMES = ["alerts", "ci", "helpdesk", LONG]
STATE = "document.getElementById('gate').dataset.state"
DESKTOP = {"width": 1200, "height": 900}
PHONE = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser():
    browser = Browser()
    yield browser
    browser.stop()


@pytest.fixture(scope="module")
def busy(folder):
    """A simulator and a proxy with bots at work; a refusal of the API closes the gate for all of them."""
    sim = Sim(folder("sim"))
    tables = {"gate": {"retry_after_scope": "egress", "start_rate": 20, "ceiling": 100}}
    proxy = Proxy(folder("proxy"), sim.https_address, sim.ca, config=named(NAMES) + WATCHDOG, tables=tables)
    traffic = Traffic(sim, proxy, NAMES)
    yield sim, proxy
    traffic.over.set()
    proxy.stop()
    traffic.stop()
    sim.stop()


def is_closed(proxy):
    return status(proxy)["gate"]["closed"]


def status(proxy):
    return proxy.bot(None).get(proxy.admin + "/status").json()


def close(sim, proxy, seconds):
    """Has the API ask everybody to wait, and returns when the gate has closed."""
    wait_until(lambda: not is_closed(proxy), seconds=40, what="an open gate")
    refuse(sim, proxy, seconds)
    closed_at = time.monotonic()
    assert is_closed(proxy)
    return closed_at


def open_page(browser, proxy, **view):
    told = browser.tell("open", url=proxy.admin + "/", **view)
    assert told["status"] == 200
    browser.tell("wait", code="document.getElementById('link').dataset.link === 'live'", seconds=15)


def test_a_closed_gate_its_seconds_and_who_waits_are_seen_within_two_seconds(browser, busy):
    sim, proxy = busy
    wait_until(lambda: not is_closed(proxy), seconds=40, what="an open gate")
    open_page(browser, proxy, **DESKTOP)
    browser.tell("wait", code=f"{STATE} === 'open'", seconds=3)
    closed_at = close(sim, proxy, 8)
    lines = "[...document.querySelectorAll('#lines tbody th')].map((cell) => cell.innerText)"
    everything = f"{STATE} === 'closed' && /^[0-9]+ s$/.test(document.getElementById('count').innerText)"
    browser.tell("wait", code=f"{everything} && {lines}.length >= 3", seconds=3)
    seen_after = time.monotonic() - closed_at
    print(f"seen {seen_after:.2f} s after the closing")
    assert seen_after < 2
    assert browser.text("headline") == "Closed for everyone"
    assert re.fullmatch(r"\d+ requests of \d+ tenants wait, the oldest for [^.]+(\.\d)? m?s\.( In the last ten seconds .+ refused\.)?", browser.text("summary"))
    first = int(browser.text("count").split()[0])
    assert 4 <= first <= 9
    names = {name.removesuffix(" gated") for name in browser.tell("evaluate", code=lines)}
    assert names <= {"alerts", "ci", "helpdesk", LONG[:25] + "…"} and len(names) >= 3, names
    assert browser.text("gates").split("\n")[-1].startswith("everyone")
    assert "Closed for everyone. Opens in about" in browser.text("spoken")
    assert browser.tell("evaluate", code="document.title").endswith("Closed for everyone · Tollgate")
    browser.tell("wait", code=f"parseInt(document.getElementById('count').innerText) <= {first - 2}", seconds=4)
    browser.tell("wait", code=f"{STATE} !== 'closed'", seconds=12)
    browser.tell("wait", code=f"{STATE} === 'open'", seconds=12)


def test_only_one_tenants_gate_is_told_as_its_own(browser, busy, folder):
    sim, _ = busy
    tables = {"gate": {"retry_after_scope": "tenant"}}
    proxy = Proxy(folder("narrow"), sim.https_address, sim.ca, config=named(["ci"]), tables=tables)
    try:
        open_page(browser, proxy, **DESKTOP)
        sim.person("stranger")
        sim.force("GET", "/v1/people/me", 429, headers={"Retry-After": "30"})
        bot = proxy.bot(token_of("ci"))
        assert bot.get("/v1/people/me", headers={"Prefer": "wait=1"}).status_code == 429
        browser.tell("wait", code=f"{STATE} === 'closed'", seconds=5)
        assert browser.text("headline") == "One gate closed"
        assert browser.text("summary").startswith("For ci, all requests. All else passes.")
        assert proxy.bot("stranger").get("/v1/people/me").status_code == 200
        refusals = browser.text("refusals")
        assert "ci" in refusals and "429 passed on" in refusals and "/v1/people/me" in refusals, refusals
    finally:
        proxy.stop()


# Text on its own background, composed of all that lies below it; the least ratio that WCAG 2.2 §1.4.3 asks for is 4.5.
CONTRAST = """(() => {
  const parts = (color) => {
    const [r, g, b, a = 1] = color.match(/[\\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const over = (top, low) => {
    const mix = (one, other) => one * top.a + other * (1 - top.a);
    return { r: mix(top.r, low.r), g: mix(top.g, low.g), b: mix(top.b, low.b), a: 1 };
  };
  const light = ({ r, g, b }) => {
    const [x, y, z] = [r, g, b].map((one) => one / 255).map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (node) => {
    const layers = [];
    for (let up = node; up; up = up.parentElement) layers.push(parts(getComputedStyle(up).backgroundColor));
    return layers.reverse().reduce((low, top) => over(top, low), { r: 255, g: 255, b: 255, a: 1 });
  };
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    const isSeen = walk.currentNode.textContent.trim() && node.checkVisibility() && !["SCRIPT", "STYLE", "NOSCRIPT"].includes(node.tagName);
    if (!isSeen) continue;
    const low = ground(node);
    const [one, other] = [light(over(parts(getComputedStyle(node).color), low)), light(low)];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    found.push({ text: walk.currentNode.textContent.trim().slice(0, 40), ratio });
  }
  return { texts: found.length, ground: light(ground(document.body)), worst: found.sort((one, other) => one.ratio - other.ratio).slice(0, 5) };
})()"""

VIEWS = {
    "desktop": DESKTOP,
    "desktop-dark": DESKTOP | {"scheme": "dark"},
    "phone": PHONE,
    "phone-dark": PHONE | {"scheme": "dark"},
}


@pytest.mark.parametrize("view", VIEWS)
def test_the_page_is_legible_and_clean_on_every_screen(browser, busy, view):
    sim, proxy = busy
    close(sim, proxy, 9)
    open_page(browser, proxy, **VIEWS[view])
    browser.tell("wait", code=f"{STATE} === 'closed'", seconds=5)
    contrast = browser.tell("evaluate", code=CONTRAST)
    assert contrast["texts"] > 40
    assert contrast["worst"][0]["ratio"] >= 4.5, contrast["worst"]
    assert (contrast["ground"] < 0.05) == view.endswith("dark"), contrast["ground"]
    widths = "[document.documentElement.scrollWidth, window.innerWidth]"
    scrolled, width = browser.tell("evaluate", code=widths)
    assert scrolled <= width == VIEWS[view]["width"]
    # A box inside the page that scrolls sideways is out of reach for a thumb in a hurry.
    wide = "[...document.querySelectorAll('.scroll')].filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.id)"
    assert browser.tell("evaluate", code=wide) == []
    complaints = browser.tell("complaints")
    assert complaints == {"console": [], "violations": []}
    asked = browser.tell("asked")
    assert {url for url in asked if not url.startswith("data:")} == {proxy.admin + "/", proxy.admin + "/events"}


@pytest.mark.parametrize("view", ["desktop", "desktop-dark", "phone"])
def test_axe_finds_nothing(browser, busy, view):
    sim, proxy = busy
    open_page(browser, proxy, bypass=True, **VIEWS[view])
    found = browser.tell("axe")
    print(view, found["passes"], "rules passed; to be judged by a person:", [rule["id"] for rule in found["incomplete"]])
    assert found["violations"] == [], json.dumps(found["violations"], indent=1)
    assert found["passes"] > 20


def test_everything_works_from_the_keyboard(browser, busy):
    _, proxy = busy
    open_page(browser, proxy, **DESKTOP)
    focused = "(({ activeElement: node }) => [node.id || node.textContent, getComputedStyle(node).outlineStyle])(document)"
    order = []
    for _ in range(5):
        browser.tell("press", key="Tab")
        name, outline = browser.tell("evaluate", code=focused)
        order.append(name)
        assert outline != "none", f"the focus on {name} is not seen"
    assert order == ["Skip to the state of the gate", "pause", "/status", "/metrics", "/readyz"]
    browser.tell("evaluate", code="document.getElementById('pause').focus()")
    browser.tell("press", key="Space")
    assert browser.tell("evaluate", code="document.getElementById('pause').getAttribute('aria-pressed')") == "true"
    uptime = browser.text("uptime")
    time.sleep(2.2)
    assert browser.text("uptime") == uptime, "a page that is paused stands still"
    browser.tell("press", key="Enter")
    browser.tell("wait", code=f"document.getElementById('uptime').innerText !== {json.dumps(uptime)}", seconds=3)
    browser.tell("evaluate", code="document.querySelector('.skip').focus()")
    browser.tell("press", key="Enter")
    assert browser.tell("evaluate", code="document.activeElement.id") == "main"


def test_without_scripts_the_page_leads_to_status(browser, busy):
    _, proxy = busy
    browser.tell("open", url=proxy.admin + "/", scripts=False, **PHONE)
    link = "(({ innerText, href }) => [innerText, href])(document.querySelector('noscript a'))"
    assert browser.tell("evaluate", code=link) == ["/status", proxy.admin + "/status"]


def test_a_page_whose_proxy_is_gone_says_so(browser, folder, busy):
    sim, _ = busy
    proxy = Proxy(folder("gone"), sim.https_address, sim.ca)
    open_page(browser, proxy, **DESKTOP)
    assert proxy.stop() == 0
    browser.tell("wait", code="document.getElementById('link').dataset.link === 'lost'", seconds=8)
    assert browser.text("link-text").startswith("no word for ")
