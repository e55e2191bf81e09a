"""The lines of docs/clients.md, as a reader would copy them, put to one proxy."""

import re

from world import ROOT

PAGE = (ROOT / "docs/clients.md").read_text()


def section(title):
    """What stands below a heading."""
    [found] = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    return found


def code(title, language):
    """The only block of that language below a heading."""
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", section(title), re.M | re.S)
    return found


def put_to(proxy, lines):
    """The lines with the proxy's address and certificate in place of the example's."""
    return lines.replace("https://localhost:8443", proxy.base).replace("ca.pem", str(proxy.ca))


def environment(title, proxy):
    """What the `export` lines below a heading set."""
    return dict(re.findall(r"^export (\w+)=(.*)$", put_to(proxy, code(title, "sh")), re.M))


def rows():
    """Client and the word of its last column, for each line of the table."""
    return re.findall(r"^\| \[([^\]]+)\]\(#.*\| ([^|]+) \|$", PAGE, re.M)


def broken_links():
    """Anchors that are linked to and that no heading has."""
    headings = re.findall(r"^## (.+)$", PAGE, re.M)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return set(re.findall(r"\]\(#([^)]+)\)", PAGE)) - anchors
