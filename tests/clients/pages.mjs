// Lists all messages with Node's two own clients, obeying Link as the JS SDK's Page does.
import https from "node:https";

const [first, token] = process.argv.slice(2);
const headers = { Authorization: `Bearer ${token}` };

function nextOf(link) {
  if (!link) return null;
  const [url, rel] = link.split(";");
  if (rel.trim() !== 'rel="next"') throw new Error(`odd link ${link}`);
  return url.trim().slice(1, -1);
}

const viaHttps = (url) =>
  new Promise((resolve, reject) => {
    const request = https.get(url, { headers, timeout: 20000 }, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("error", reject);
      answer.on("end", () =>
        resolve({ link: answer.headers.link, items: JSON.parse(Buffer.concat(parts)).items }),
      );
    });
    request.on("timeout", () => request.destroy(new Error("timeout")));
    request.on("error", reject);
  });

async function viaFetch(url) {
  const answer = await fetch(url, { headers, signal: AbortSignal.timeout(20000) });
  return { link: answer.headers.get("link"), items: (await answer.json()).items };
}

for (const [name, ask] of [["https", viaHttps], ["fetch", viaFetch]]) {
  const seen = new Set();
  for (let url = first; url; ) {
    const page = await ask(url);
    page.items.forEach((item) => seen.add(item.id));
    url = nextOf(page.link);
  }
  console.log(name, seen.size);
}
