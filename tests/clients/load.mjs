// Mixed load on a Tollgate over HTTP/1.1 and HTTP/2, every answer checked. Takes a JSON file of settings, ends after so many
// seconds or with its standard input, and prints as JSON what came, what was written and what was wrong.
import crypto from "node:crypto";
import fs from "node:fs";
import http2 from "node:http2";
import https from "node:https";

const settings = JSON.parse(fs.readFileSync(process.argv[2]));
const { base, tokens, room, persons, contents, seconds, seed, workers, deadline_ms: deadline } = settings;
const ca = fs.readFileSync(settings.ca);
const { port } = new URL(base);
const pool = crypto.randomBytes(11_000_000);
const told = { counts: {}, longest_ms: {}, wrong: [], acknowledged: [], deleted: [], open: [] };
const end = Date.now() + seconds * 1000;
let over = false;
process.stdin.resume();
process.stdin.on("end", () => (over = true));
const isOver = () => over || Date.now() > end;

// mulberry32: the same seed asks the same things in the same order.
const randomFrom = (start) => () => {
  start = (start + 0x6d2b79f5) | 0;
  let value = Math.imul(start ^ (start >>> 15), 1 | start);
  value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
  return ((value ^ (value >>> 14)) >>> 0) / 4294967296;
};

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const sha256 = (bytes) => crypto.createHash("sha256").update(bytes).digest("hex");

class Http1 {
  name = "h1";
  agent = new https.Agent({ ca, keepAlive: true, maxSockets: 1, ALPNProtocols: ["http/1.1"] });

  open({ method, path, headers, body }, heard) {
    const request = https.request({ host: "localhost", port, agent: this.agent, method, path, headers });
    request.on("response", (answer) => {
      heard.head(answer.statusCode, answer.headers);
      answer.on("data", heard.data);
      answer.on("end", () => (answer.complete ? heard.end() : heard.fail("incomplete")));
      answer.on("error", (error) => heard.fail(error.code ?? error.message));
    });
    request.on("error", (error) => heard.fail(error.code ?? error.message));
    return { send: (part) => request.write(part), finish: () => request.end(body), leave: () => request.destroy() };
  }

  renew() {
    this.agent.destroy();
  }
}

class Http2 {
  name = "h2";
  session;

  open({ method, path, headers, body }, heard) {
    if (!this.session || this.session.closed || this.session.destroyed) this.connect();
    const stream = this.session.request({ ":method": method, ":path": path, ...headers }, { endStream: false });
    let has_head = false;
    let has_ended = method === "HEAD";
    stream.on("response", (answer) => {
      has_head = true;
      heard.head(answer[":status"], answer);
    });
    stream.on("data", heard.data);
    stream.on("end", () => (has_ended = true));
    stream.on("error", (error) => heard.fail(error.cause?.code ?? error.message));
    stream.on("close", () => (has_head && has_ended && !stream.rstCode ? heard.end() : heard.fail(`reset ${stream.rstCode}`)));
    const leave = () => stream.close(http2.constants.NGHTTP2_CANCEL);
    return { send: (part) => stream.write(part), finish: () => stream.end(body), leave };
  }

  connect() {
    this.session = http2.connect(base, { ca, maxSessionMemory: 200 });
    this.session.on("error", () => {});
  }

  // Not while it connects: node would fail the requests that wait for that (ERR_HTTP2_GOAWAY_SESSION, reset 2).
  renew() {
    if (this.session?.connecting) return;
    this.session?.close();
    this.session = undefined;
  }
}

// One request: what came of it, in the end or within the deadline. `leave` says when this client goes away by itself.
const ask = (client, request, leave) =>
  new Promise((resolve) => {
    const started = Date.now();
    const digest = crypto.createHash("sha256");
    const parts = [];
    const found = { status: 0, headers: {}, bytes: 0, error: undefined, left: false };
    let exchange;
    let is_done = false;
    const done = () => {
      if (is_done) return;
      is_done = true;
      clearTimeout(timer);
      found.took_ms = Date.now() - started;
      found.sha256 = digest.digest("hex");
      found.text = Buffer.concat(parts).toString();
      resolve(found);
    };
    const go = (why) => {
      if (is_done) return;
      found[why] = true;
      exchange.leave();
      done();
    };
    const timer = setTimeout(() => go("late"), deadline);
    const heard = {
      head: (status, headers) => {
        if (is_done) return;
        Object.assign(found, { status, headers });
        if (leave === "in the answer") setTimeout(() => go("left"), 1);
      },
      // After it has left, node may still hand over what had come in.
      data: (part) => {
        if (is_done) return;
        found.bytes += part.length;
        digest.update(part);
        if (found.bytes < 200_000) parts.push(part);
      },
      end: done,
      fail: (error) => {
        // What is heard first says why; that the stream is closed follows from it.
        found.error ??= error;
        done();
      },
    };
    exchange = client.open(request, heard);
    if (leave === "in the request") {
      exchange.send(request.body.subarray(0, request.body.length / 2));
      setTimeout(() => go("left"), 50);
    } else {
      exchange.finish();
      if (leave === "at once") setTimeout(() => go("left"), 30);
    }
  });

const CLEAR = new Set([429, 500, 502, 503, 504]);

class Worker {
  constructor(number, client) {
    this.number = number;
    this.client = client;
    this.token = tokens[number % tokens.length];
    this.person = persons[number % tokens.length];
    this.random = randomFrom(seed * 1000 + number);
    this.asked = 0;
  }

  async work() {
    while (!isOver()) {
      const [act] = this.pick();
      const wait = await act.call(this);
      await pause(wait ? Math.min(wait, 3) * 1000 : this.random() * settings.think_ms);
      if (this.random() < 0.01) this.client.renew();
    }
  }

  pick() {
    let left = this.random() * TOTAL;
    return ACTS.find(([, weight]) => (left -= weight) < 0) ?? ACTS[0];
  }

  any(list) {
    return list[Math.floor(this.random() * list.length)];
  }

  // Judges one answer: `right` says what is wrong with a 2xx, or nothing. The result is the answer if it was right.
  async judge(what, request, right, leave) {
    request.headers = { authorization: `Bearer ${this.token}`, ...request.headers };
    if (request.body) request.headers["content-length"] = request.body.length;
    const found = await ask(this.client, request, leave);
    const kind = `${what} ${this.client.name}`;
    told.longest_ms[kind] = Math.max(told.longest_ms[kind] ?? 0, found.took_ms);
    const [outcome, fault] = this.verdict(found, right, request.method);
    const count = (told.counts[kind] ??= {});
    count[outcome] = (count[outcome] ?? 0) + 1;
    if (fault && told.wrong.length < 50) {
      const { status, error, took_ms, headers } = found;
      told.wrong.push({ kind, path: request.path, fault, status, error, took_ms, headers, text: found.text.slice(0, 300) });
    }
    this.wait = outcome === "refused" ? Number(found.headers["retry-after"] ?? 1) : 0;
    return outcome === "right" ? found : undefined;
  }

  verdict(found, right, method) {
    if (found.left) return ["left"];
    if (found.late) return ["late", "no end within the deadline"];
    if (found.error && !found.status) return ["lost", `no answer: ${found.error}`];
    if (CLEAR.has(found.status)) {
      if (found.error) return ["cut"];
      const fault = method === "HEAD" ? undefined : unclear(found);
      return [found.status === 429 ? "refused" : "failed", fault];
    }
    if (found.error) return ["cut"];
    const fault = expected(found.status, method) ? faultOf(found, right) : `status ${found.status}`;
    return [fault ? "wrong" : "right", fault];
  }

  async me() {
    const right = (found) => (JSON.parse(found.text).id === this.person ? undefined : "another person");
    await this.judge("me", { method: "GET", path: "/v1/people/me" }, right);
    return this.wait;
  }

  async room() {
    const right = (found) => (JSON.parse(found.text).id === room ? undefined : "another room");
    await this.judge("room", { method: "GET", path: `/v1/rooms/${room}` }, right);
    return this.wait;
  }

  async list() {
    const right = (found) => (Array.isArray(JSON.parse(found.text).items) ? undefined : "no list");
    await this.judge("list", { method: "GET", path: `/v1/messages?roomId=${room}&max=5` }, right);
    return this.wait;
  }

  async head() {
    const content = this.any(contents);
    const right = (found) => (Number(found.headers["content-length"]) === content.size ? undefined : "another length");
    await this.judge("head", { method: "HEAD", path: content.path }, right);
    return this.wait;
  }

  async content() {
    const content = this.any(contents);
    const right = (found) => (found.sha256 === content.sha256 ? undefined : `other bytes: ${found.bytes} of ${content.size}`);
    await this.judge("content", { method: "GET", path: content.path }, right);
    return this.wait;
  }

  mark(what) {
    this.asked += 1;
    return `${what}-${this.client.name}-${this.number}-${this.asked}`;
  }

  note(mark) {
    return {
      method: "POST",
      path: "/v1/messages",
      headers: { "content-type": "application/json" },
      body: Buffer.from(JSON.stringify({ roomId: room, text: mark })),
    };
  }

  async write() {
    const mark = this.mark("note");
    const right = (found) => (JSON.parse(found.text).text === mark ? undefined : "another message");
    const found = await this.judge("write", this.note(mark), right);
    (found ? told.acknowledged : told.open).push(mark);
    return this.wait;
  }

  form(mark, size) {
    const start = Math.floor(this.random() * (pool.length - size));
    const file = Buffer.concat([Buffer.from(`${mark}\n`), pool.subarray(start, start + size)]);
    const line = `--${mark}\r\nContent-Disposition: form-data; name=`;
    const fields = `${line}"roomId"\r\n\r\n${room}\r\n${line}"text"\r\n\r\n${mark}\r\n`;
    const opening = `${line}"files"; filename="${mark}.bin"\r\nContent-Type: application/octet-stream\r\n\r\n`;
    const body = Buffer.concat([Buffer.from(fields + opening), file, Buffer.from(`\r\n--${mark}--\r\n`)]);
    const headers = { "content-type": `multipart/form-data; boundary=${mark}` };
    return [{ method: "POST", path: "/v1/messages", headers, body }, file];
  }

  // Up, down again, and away: bytes are compared, and the simulator's memory stays small.
  async upload() {
    const mark = this.mark("file");
    const [request, file] = this.form(mark, 1_000_000 + Math.floor(this.random() * 9_000_000));
    const right = (found) => (JSON.parse(found.text).files?.[0]?.startsWith(base) ? undefined : "no file of ours");
    const posted = await this.judge("upload", request, right);
    if (!posted) {
      told.open.push(mark);
      return this.wait;
    }
    const message = JSON.parse(posted.text);
    const path = message.files[0].slice(base.length);
    const digest = sha256(file);
    const same = (found) => (found.sha256 === digest ? undefined : `other bytes: ${found.bytes} of ${file.length}`);
    await this.judge("read back", { method: "GET", path }, same);
    const gone = await this.judge("delete", { method: "DELETE", path: `/v1/messages/${message.id}` }, () => undefined);
    (gone ? told.deleted : told.open).push(mark);
    return this.wait;
  }

  async leave() {
    const nothing = () => undefined;
    const mark = this.mark("left");
    const ways = [
      () => this.judge("leave", { method: "GET", path: this.any(contents).path }, nothing, "in the answer"),
      () => this.judge("leave", { method: "GET", path: "/v1/people/me?left" }, nothing, "at once"),
      () => this.judge("leave", this.note(mark), nothing, "at once"),
      () => this.judge("leave", this.form(mark, 1_500_000)[0], nothing, "in the request"),
    ];
    told.open.push(mark);
    await this.any(ways)();
    return this.wait;
  }
}

// A deletion that was applied before its connection broke is sent again, and finds nothing.
const expected = (status, method) => status === 200 || status === 204 || (method === "DELETE" && status === 404);

function faultOf(found, right) {
  try {
    return right(found);
  } catch {
    return `an answer that cannot be read, ${found.bytes} bytes`;
  }
}

// An error that a program can act on: JSON with a message, and on a 429 a whole number of seconds.
function unclear({ status, headers, text }) {
  if (status === 429 && !/^\d+$/.test(headers["retry-after"] ?? "")) return "a 429 without seconds";
  try {
    return JSON.parse(text).message ? undefined : "an error without a message";
  } catch {
    return "an error that is no JSON";
  }
}

const { me, room: about, list, head, content, write, upload, leave } = Worker.prototype;
const ACTS = [[me, 12], [about, 10], [list, 10], [head, 14], [content, 24], [write, 16], [upload, 3], [leave, 5]];
const TOTAL = ACTS.reduce((sum, [, weight]) => sum + weight, 0);

// Each HTTP/1.1 worker has a connection of its own; four HTTP/2 workers share one.
const clients = Array.from({ length: workers.h1 }, () => new Http1());
const shared = Array.from({ length: Math.ceil(workers.h2 / 4) }, () => new Http2());
for (let number = 0; number < workers.h2; number += 1) clients.push(shared[number % shared.length]);
await Promise.all(clients.map((client, number) => new Worker(number, client).work()));
process.stdout.write(JSON.stringify(told), () => process.exit(0));
