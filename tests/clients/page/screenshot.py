"""Makes docs/page.png: the page while eight bots share a limited API. With a folder as argument, more views go there.

    target/clients-venv/bin/python tests/clients/page/screenshot.py [FOLDER]
"""

import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from browser import Browser
from sim import Sim
from traffic import WATCHDOG, Traffic, named, refuse
from world import ROOT, Proxy

LIMIT = {"limit": "egress=1200:60", "limit_mode": "token-bucket"}


def main(extra=None):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        sim = Sim(folder)
        tables = {"gate": {"ceiling": 100, "retry_after_scope": "egress"}, "cache": {"proof_ttl": "10s"}}
        proxy = Proxy(folder / "proxy", sim.https_address, sim.ca, config=named() + WATCHDOG, tables=tables)
        browser = Browser()
        traffic = Traffic(sim, proxy, threads=6)
        sim.set(**LIMIT)
        try:
            take(sim, proxy, browser, extra)
        finally:
            traffic.over.set()
            browser.stop()
            proxy.stop()
            sim.stop()


def take(sim, proxy, browser, extra):
    is_closed = "document.getElementById('gate').dataset.state === 'closed'"
    for seconds in [75, 60]:
        time.sleep(seconds)
        refuse(sim, proxy, 6)
    time.sleep(40)
    views = [(ROOT / "docs/page.png", {"width": 1180, "height": 900, "scheme": "light"})]
    if extra:
        for name, view in {
            "light": {"width": 1180, "height": 1150},
            "dark": {"width": 1180, "height": 1150, "scheme": "dark"},
            "phone": {"width": 390, "height": 844, "scale": 2},
            "phone-dark": {"width": 390, "height": 844, "scheme": "dark", "scale": 2},
        }.items():
            views.append((pathlib.Path(extra) / f"{name}.png", view))
    for path, view in views:
        browser.tell("open", url=proxy.admin + "/", **view)
        browser.tell("wait", code=is_closed.replace("===", "!=="), seconds=39)
        time.sleep(6)
        refuse(sim, proxy, 24)
        browser.tell("wait", code=is_closed, seconds=10)
        time.sleep(4)
        browser.tell("shot", path=str(path), whole=bool(extra) and path.parent == pathlib.Path(extra))
    if extra:
        sim.set(limit="all=off")
        browser.tell("wait", code=is_closed.replace("===", "!=="), seconds=39)
        time.sleep(20)
        browser.tell("open", url=proxy.admin + "/", width=1180, height=1150)
        time.sleep(2)
        browser.tell("shot", path=str(pathlib.Path(extra) / "open.png"), whole=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
