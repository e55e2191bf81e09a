"""Paging: links lead back through the proxy, whatever they look like."""

import pytest

from world import curl, heads_of


@pytest.fixture
def room(sim, token):
    sim.person(token)
    room = sim.room(token)
    sim.messages(room, 25)
    return room


def follow(bot, path):
    """All items of all pages, as a client that obeys Link."""
    items, pages, url = [], 0, path
    while url:
        answer = bot.get(url)
        assert answer.status_code == 200, answer.text
        assert len(answer.headers.get("Link", "").split('rel="next"')) <= 2
        items += answer.json()["items"]
        pages += 1
        url = answer.links.get("next", {}).get("url")
        assert url is None or url.startswith(bot.base + "/v1/"), url
        assert pages < 50
    return items, pages


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_links_lead_through_the_proxy(bot, sim, room, packed):
    sim.set(gzip=packed)
    items, pages = follow(bot, f"/v1/messages?roomId={room}&max=10")
    assert (len({item["id"] for item in items}), pages) == (25, 3)
    assert sim.strangers() == []


def test_links_over_plain_http_stay_plain(proxy, sim, room, token):
    bot = proxy.bot(token)
    bot.base = proxy.plain
    assert follow(bot, f"/v1/messages?roomId={room}&max=10")[1] == 3


def test_links_name_the_very_host_the_client_used(proxy, room, token):
    bot = proxy.bot(token)
    bot.base = f"https://127.0.0.1:{proxy.https_port}"
    assert follow(bot, f"/v1/messages?roomId={room}&max=10")[1] == 3


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
def test_curl_follows_links(proxy, room, token, protocol):
    url, pages = f"{proxy.base}/v1/messages?roomId={room}&max=10", 0
    while url:
        answer = curl(protocol, "-i", "-H", f"Authorization: Bearer {token}", url, ca=proxy.ca)
        status, fields = heads_of(answer)
        assert status == 200
        pages += 1
        [link] = fields.get("link", [""])
        assert link == "" or link.endswith('rel="next"')
        url = link[link.find("<") + 1 : link.find(">")] if link else None
        assert url is None or url.startswith(proxy.base)
    assert pages == 3


@pytest.mark.parametrize("family", ["messages", "rooms", "memberships", "people"])
def test_an_excess_max_gives_the_maximum_and_a_next_link(bot, direct, sim, token, family):
    sim.person(token)
    room = sim.room(token)
    query = sim.fill(family, token, room, 1005)
    path = f"/v1/{family}?{query}&max=5000"
    answer = bot.get(path)
    wanted = direct.get(path)
    assert answer.status_code == wanted.status_code == 200
    assert len(answer.json()["items"]) == len(wanted.json()["items"]) < 1005
    assert answer.links["next"]["url"].startswith(bot.base)
    assert answer.links["next"]["url"].removeprefix(bot.base) == wanted.links["next"]["url"].removeprefix(
        "https://webexapis.com"
    )


@pytest.mark.parametrize("quirk", ["no-semicolon", "max-null", "empty-tail-page", "first-prev", "drop-filters"])
def test_links_of_every_form_are_rewritten_and_otherwise_untouched(bot, direct, sim, room, quirk):
    sim.set(paging=quirk)
    path = f"/v1/messages?roomId={room}&max=10"
    for _ in range(3):
        wanted = direct.get(path).headers.get("Link")
        got = bot.get(path).headers.get("Link")
        assert got == (wanted and wanted.replace("https://webexapis.com/", bot.base + "/"))
        if not got:
            break
        path = got[got.find("<") + 1 : got.find(">")].removeprefix(bot.base)


def test_the_link_of_the_seed_keeps_its_odd_query(bot, sim, token):
    sim.person(token)
    link = (
        "<https://api.ciscospark.com/v1/people?displayName=Harold&max=10&before&after=Y2lzY29zcGFyazovL3VzL1BFT1BMRS83"
        'MTZlOWQxYy1jYTQ0LTRmZWQtOGZjYS05ZGY0YjRmNDE3ZjU> rel="next"'
    )
    sim.force("GET", "/v1/people", 200, headers={"Link": link}, body={"items": []})
    answer = bot.get("/v1/people?displayName=Harold")
    assert answer.headers["Link"] == link.replace("https://api.ciscospark.com", bot.base)


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
def test_a_query_goes_up_verbatim(proxy, sim, token, protocol):
    sim.person(token)
    query = "displayName=Har%6fld+%2b&max=10&before&after=&x=%C3%A9%2F&max=100"
    curl(protocol, "-H", f"Authorization: Bearer {token}", f"{proxy.base}/v1/people?{query}", ca=proxy.ca)
    assert sim.log()[-1]["query"] == query
