// Asks over one HTTP/2 connection, so many streams at a time and at most so often each, and tells what came. Ends with
// its standard input too, and when nobody takes a connection any more.
import http2 from "node:http2";

const [base, path, token, width, most = "1000000"] = process.argv.slice(2);
const statuses = {};
let connections = 0;
let sent = 0;
let session;
let done = false;
process.stdin.resume();
process.stdin.on("end", () => (done = true));

const count = (what) => (statuses[what] = (statuses[what] ?? 0) + 1);

// A stream that was not looked at, as GOAWAY promises: it may be asked again.
const wordOf = (error) => error.message.match(/NGHTTP2_\w+/)?.[0] ?? error.code;

const connected = () => {
  if (session && !session.closed && !session.destroyed) return session;
  connections += 1;
  session = http2.connect(base);
  session.on("error", () => {});
  session.on("goaway", () => count("goaway"));
  return session;
};

const ask = () =>
  new Promise((resolve) => {
    const stream = connected().request({ ":path": `${path}?s=${sent++}`, authorization: `Bearer ${token}` });
    let status;
    let wait;
    stream.setTimeout(20000, () => stream.destroy(new Error("timeout")));
    stream.on("response", (headers) => ([status, wait] = [headers[":status"], headers["retry-after"]]));
    stream.on("error", (error) => resolve({ status: error.cause?.code ?? wordOf(error) }));
    stream.on("end", () => resolve({ status, wait }));
    stream.resume();
    stream.end();
  });

const one = async () => {
  for (let asked = 0; !done && asked < Number(most); asked += 1) {
    const { status, wait } = await ask();
    count(status === 503 && wait ? "503 with Retry-After" : String(status));
    if (status === undefined || Number.isNaN(Number(status))) break;
  }
};

await Promise.all(Array.from({ length: Number(width) }, one));
session?.close();
console.log(JSON.stringify({ connections, statuses }));
process.exit(0);
