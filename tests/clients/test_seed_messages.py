"""Every example of the two seed documents, byte for byte."""

import hashlib
import json

import pytest
import requests
from requests_toolbelt.multipart.encoder import MultipartEncoder

from world import curl, heads_of

# The examples of "Formatting Messages", in the order of the document.
MARKDOWN = {
    "paragraphs": "Paragraph 1\n\nParagraph 2",
    "two-space break": "Line 1  \nLine 2",
    "bold": "**Title:** Add support for multiple file uploads\n\n**Status:** Closed",
    "italic": "This is *the best* launch we've had so far!",
    "links": "Should we try the sushi place for lunch?\n"
    "- [Oh yea!](http://example.com/polls/yd242?response=yes)\n"
    "- [Ewww Sushi](http://example.com/polls/yd242?response=no)\n"
    "- [Not today](http://example.com/polls/yd242?response=later)",
    "ordered list": "Priorities for the week are:\n1. Collect Underpants\n2. ???\n3. Profit",
    "unordered list": "Good morning Joe Fu. Here's your todo list:\n"
    "- Review that really important thing.\n- Meet Jason for lunch.\n"
    "- Buy a new shirt. The one you're wearing is terrible.",
    "block quote": "Alice, last week you said:\n"
    "> I don't care what it costs. Let's book The Chainsmokers to headline Cisco Live.\n\n"
    "Christine from finance laughed and is now questioning our sanity.",
    "in-line code": "Mike, I think the issue is with the `hasPermission` function",
    "fenced code": 'Hello world in golang:\n```golang\npackage main\n\nimport "fmt"\n\nfunc main() {\n'
    '    fmt.Println("Hello, 世界")\n}\n```',
    "mention by email": "Hi <@personEmail:banderson@example.com|Bobby>, your order has been processed.",
    "mention by id": "We should get "
    "<@personId:Y2lzY29zcGFyazovL3VzL1BFT1BMRS9mNWIzNjE4Ny1jOGRkLTQ3MjctOGIyZi1mOWM0NDdmMjkwNDY|Jose>"
    " to look at that right away.",
    "mention all": "<@all>, we have some exciting news! Please watch this space for more information...",
    "a link to a file": 'See https://webexapis.com/v1/contents/x and "https://api.ciscospark.com/v1/contents/y"',
    "escapes": 'a "quoted" \\ back\\slash \t tab / slash \u2028 \U0001f600',
}


@pytest.fixture
def room(sim, token):
    sim.person(token)
    return sim.room(token)


@pytest.mark.parametrize("example", MARKDOWN)
@pytest.mark.parametrize("escaped", [True, False], ids=["escaped", "plain"])
def test_markdown_passes_byte_for_byte(bot, direct, sim, room, example, escaped):
    body = json.dumps({"roomId": room, "markdown": MARKDOWN[example]}, ensure_ascii=escaped).encode()
    answer = bot.post("/v1/messages", data=body, headers={"Content-Type": "application/json; charset=utf-8"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["markdown"] == MARKDOWN[example]
    assert sim.log()[-1]["sha256"] == hashlib.sha256(body).hexdigest()
    path = f"/v1/messages/{answer.json()['id']}"
    assert bot.get(path).content == direct.get(path).content


def test_a_text_that_looks_like_a_file_url_stays_as_it_is(bot, sim, room):
    text = "see https://webexapis.com/v1/contents/x and \\u0066iles"
    card = {"contentType": "application/vnd.microsoft.card.adaptive", "content": {"files": [f"{text}"]}}
    answer = bot.post("/v1/messages", json={"roomId": room, "text": text, "attachments": [card]})
    assert answer.json()["text"] == text
    listed = bot.get("/v1/messages", params={"roomId": room}).json()["items"][0]
    assert listed["text"] == text
    assert listed.get("attachments", [card]) == [card]


def png(folder, size=44_752):
    path = folder / "example.png"
    path.write_bytes((b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * (size // 256 + 1))[:size])
    return path


def assert_arrived(sim, message, path, token):
    [content] = sim.contents_of(message["id"], token)
    assert content["name"] == "example.png"
    assert content["type"] == "image/png"
    assert content["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert message["text"] == "example attached"


def test_the_multipart_upload_of_the_seed(proxy, sim, token, room, tmp_path):
    path = png(tmp_path)
    answer = curl(
        *("--request", "POST"),
        *("--header", f"Authorization: Bearer {token}"),
        *("--form", f"files=@{path};type=image/png"),
        *("--form", f"roomId={room}"),
        *("--form", "text=example attached"),
        f"{proxy.base}/v1/messages",
        ca=proxy.ca,
    )
    message = json.loads(answer)
    assert message["files"][0].startswith(f"{proxy.base}/v1/contents/")
    assert_arrived(sim, message, path, token)


def test_the_toolbelt_upload_of_the_seed(proxy, sim, token, room, tmp_path):
    path = png(tmp_path)
    with path.open("rb") as file:
        fields = {"roomId": room, "text": "example attached", "files": ("example.png", file, "image/png")}
        m = MultipartEncoder(fields)
        r = requests.post(
            f"{proxy.base}/v1/messages",
            data=m,
            headers={"Authorization": f"Bearer {token}", "Content-Type": m.content_type},
            verify=str(proxy.ca),
            timeout=30,
        )
    assert r.status_code == 200, r.text
    assert_arrived(sim, r.json(), path, token)


def test_the_remote_attachment_of_the_seed(proxy, sim, token, room):
    url = "http://www.example.com/images/media.png"
    body = '{"roomId":"%s","text":"Example file","files":["%s"]}' % (room, url)
    answer = curl(
        *("--request", "POST"),
        *("--header", f"Authorization: Bearer {token}"),
        *("--header", "Content-Type: application/json"),
        *("--data", body),
        f"{proxy.base}/v1/messages",
        ca=proxy.ca,
    )
    assert json.loads(answer)["text"] == "Example file"
    assert sim.log()[-1]["sha256"] == hashlib.sha256(body.encode()).hexdigest()


def test_a_file_of_the_proxy_is_named_to_the_api_by_its_own_address(proxy, bot, sim, room, token, tmp_path):
    first = bot.post("/v1/messages", files={"files": ("a.png", b"x" * 1000, "image/png")}, data={"roomId": room})
    url = first.json()["files"][0]
    assert url.startswith(proxy.base)
    body = json.dumps({"roomId": room, "files": [url]}).encode()
    bot.post("/v1/messages", data=body, headers={"Content-Type": "application/json"})
    wanted = body.replace(proxy.base.encode(), b"https://webexapis.com")
    assert sim.log()[-1]["sha256"] == hashlib.sha256(wanted).hexdigest()


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
def test_a_form_that_asks_before_it_is_sent_is_told_to_continue(proxy, sim, token, room, tmp_path, protocol):
    path = png(tmp_path, 2 * 1024 * 1024)
    arguments = [protocol, "-i", "-H", f"Authorization: Bearer {token}", "-H", "Expect: 100-continue"]
    # HTTP/2 has no use for 100 Continue (hyper sends none): curl goes on by itself after its usual second.
    patience = "20" if protocol == "--http1.1" else "1"
    arguments += ["--expect100-timeout", patience, "--form", f"files=@{path};type=image/png"]
    arguments += ["--form", f"roomId={room}", "--form", "text=example attached", f"{proxy.base}/v1/messages"]
    answer = curl(*arguments, "-w", "%{time_total}", ca=proxy.ca)
    assert heads_of(answer.rsplit(b"}", 1)[0])[0] == 200
    assert float(answer.rsplit(b"}", 1)[1]) < 10
    if protocol == "--http1.1":
        assert answer.startswith(b"HTTP/1.1 100")
    interim = [line for line in answer.split(b"\r\n") if line.startswith(b"HTTP/") and b" 1" in line[6:11]]
    assert all(b" 100" in line for line in interim)
    message = json.loads(answer[answer.index(b"{") : answer.rindex(b"}") + 1])
    assert_arrived(sim, message, path, token)


def test_a_chunked_form_arrives_whole(proxy, sim, token, room, tmp_path):
    path = png(tmp_path, 700_000)
    arguments = ["-H", f"Authorization: Bearer {token}", "-H", "Transfer-Encoding: chunked"]
    arguments += ["--form", f"files=@{path};type=image/png", "--form", f"roomId={room}"]
    arguments += ["--form", "text=example attached", f"{proxy.base}/v1/messages"]
    message = json.loads(curl("--http1.1", *arguments, ca=proxy.ca))
    assert_arrived(sim, message, path, token)
