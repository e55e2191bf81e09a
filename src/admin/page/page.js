"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const say = (id, text) => { const node = at(id); if (node.textContent !== text) node.textContent = text; };
  const make = (name, kind, text) => {
    const node = document.createElement(name);
    if (kind) node.className = kind;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const plural = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;
  const number = (value) => value.toLocaleString("en-GB", { maximumFractionDigits: 0 });
  const rate = (value) => value.toLocaleString("en-GB", { maximumFractionDigits: value < 10 ? 2 : value < 100 ? 1 : 0 });
  const bytes = (value) => {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let unit = 0;
    while (value >= 999.5 && unit < units.length - 1) { value /= 1000; unit += 1; }
    return `${value.toLocaleString("en-GB", { maximumFractionDigits: unit && value < 10 ? 1 : 0 })} ${units[unit]}`;
  };
  const span = (seconds) => {
    if (seconds < 0.95) return `${Math.round(seconds * 1000)} ms`;
    if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
    return clock(seconds);
  };
  const clock = (seconds) => {
    const whole = Math.max(0, Math.ceil(seconds));
    if (whole < 100) return `${whole} s`;
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
    if (whole < 86400) return `${Math.floor(whole / 3600)} h ${String(Math.floor(whole / 60) % 60).padStart(2, "0")} min`;
    return `${Math.floor(whole / 86400)} d ${Math.floor(whole / 3600) % 24} h`;
  };

  // Names may have 64 letters, which no phone shows in a row of a table.
  const short = (name) => (name.length > 26 ? `${name.slice(0, 25)}\u2026` : name);
  const tenant = (name) => {
    const node = make("span", "", short(name));
    if (short(name) !== name) node.title = name;
    return node;
  };

  // Shown until the next word comes: what it said, when it came, and what was drawn from it.
  let told = null, heardAt = 0, longest = 0, isPaused = false;
  const drawn = new Map();
  const now = () => performance.now() / 1000;
  const left = (seconds) => Math.max(0, seconds - (now() - heardAt));

  // A part is drawn again only if it has changed: a selection or a reader's place in a table stays.
  const draw = (id, facts, render) => {
    const mark = JSON.stringify(facts);
    if (drawn.get(id) === mark) return;
    drawn.set(id, mark);
    at(id).replaceChildren(render());
  };
  const none = (text) => make("p", "none", text);
  const table = (caption, heads, rows) => {
    const whole = make("table");
    whole.append(make("caption", "", caption));
    const head = whole.createTHead().insertRow();
    for (const [text, kind] of heads) {
      const cell = make(text ? "th" : "td", kind, text);
      if (text) cell.scope = "col";
      head.append(cell);
    }
    const body = whole.createTBody();
    for (const cells of rows) {
      const row = body.insertRow();
      cells.forEach(([content, kind], index) => {
        const cell = make(index ? "td" : "th", kind);
        if (!index) cell.scope = "row";
        cell.append(content);
        row.append(cell);
      });
    }
    return whole;
  };
  const bar = (parts) => {
    const track = make("div", "track");
    for (const [share, kind] of parts) {
      const part = make("div", kind);
      part.style.width = `${Math.min(100, share * 100)}%`;
      track.append(part);
    }
    return track;
  };

  const who = (gate) => {
    if (gate.level === "egress") return "everyone";
    if (gate.level === "tenant") return `${short(gate.tenant)}, all requests`;
    const what = gate.access === "write" ? "writes to" : "reads of";
    return `${short(gate.tenant)}, ${what} ${gate.family}${gate.level === "room" ? " in one room" : ""}`;
  };
  const shut = (gate) => {
    const wide = { level: "egress", closed: gate.closed, remaining_seconds: gate.remaining_seconds, rate_per_second: gate.rate_per_second };
    return (gate.closed || gate.half_open ? [wide] : []).concat(gate.gates);
  };

  const verdict = (gate, lately) => {
    const closed = shut(gate).filter((one) => one.closed);
    const refused = lately ? ` In the last ten seconds ${plural(lately, "request was", "requests were")} refused.` : "";
    const line = (gate.waiting
      ? `${plural(gate.waiting, "request", "requests")} of ${plural(gate.lines_waiting, "tenant", "tenants")} ${gate.waiting === 1 ? "waits" : "wait"}, the oldest for ${span(gate.oldest_waited_seconds)}.`
      : "Nobody waits.") + refused;
    if (gate.closed) {
      return { state: "closed", head: "Closed for everyone", line, seconds: gate.remaining_seconds, what: "until it opens" };
    }
    if (gate.half_open) {
      return { state: "trying", head: "Trying whether the API accepts again", line: `One request goes ahead; the others follow if it is served. ${line}` };
    }
    if (closed.length) {
      const last = closed.reduce((one, other) => (other.remaining_seconds > one.remaining_seconds ? other : one));
      const head = gate.gates_shut > 1 ? `${plural(gate.gates_shut, "gate", "gates")} closed` : "One gate closed";
      const first = gate.gates_shut > 1 ? `The last to open: ${who(last)}.` : `For ${who(last)}.`;
      return { state: "closed", head, line: `${first} All else passes. ${line}`, seconds: last.remaining_seconds, what: gate.gates_shut > 1 ? "until the last opens" : "until it opens" };
    }
    if (gate.gates_shut) return { state: "trying", head: `Trying ${plural(gate.gates_shut, "gate", "gates")} again`, line };
    if (gate.mode === "off") return { state: "open", head: "Not holding anybody back", line: "The gate is switched off." };
    return { state: "open", head: gate.waiting ? "Open, requests wait their turn" : "Open", line };
  };

  const showVerdict = ({ gate, history }) => {
    const steps = Math.round(10 / history.step_seconds);
    const seen = verdict(gate, history.refused.slice(-steps).reduce((sum, count) => sum + count, 0));
    const before = at("gate").dataset.state;
    at("gate").dataset.state = seen.state;
    say("headline", seen.head);
    say("summary", gate.mode === "observe" ? `Only observing: nobody is held back. ${seen.line}` : seen.line);
    const isCounting = seen.seconds !== undefined;
    at("until").hidden = at("fuse").hidden = !isCounting;
    if (isCounting) {
      longest = Math.max(before === "closed" ? longest : 0, seen.seconds);
      at("count").dataset.left = seen.seconds;
      say("until-what", seen.what);
    } else {
      longest = 0;
      delete at("count").dataset.left;
    }
    // Spoken when the state changes, not with each second and each gate.
    const mark = `${seen.state} ${gate.closed}`;
    if (drawn.get("spoken") !== mark) {
      drawn.set("spoken", mark);
      say("spoken", isCounting ? `${seen.head}. Opens in about ${clock(seen.seconds)}.` : `${seen.head}.`);
    }
  };

  const showGates = (gate) => {
    const gates = shut(gate);
    const shown = gates.slice(0, 12);
    draw("gates", [shown.map((one) => ({ ...one, remaining_seconds: 0 })), gate.gates_shut], () => {
      if (!gates.length) return none("All gates are open.");
      const rows = shown.map((one) => [
        [who(one)],
        [rate(one.rate_per_second), "number wide"],
        [one.closed ? make("span", "left") : "being tried", "number"],
      ]);
      const part = document.createDocumentFragment();
      part.append(table("Closed gates, the last to open first", [["For"], ["Rate per second", "number wide"], ["Opens in", "number"]], rows));
      const more = gate.gates_shut + (gates.length - gate.gates.length) - rows.length;
      if (more > 0) part.append(make("p", "none", `and ${number(more)} more: see /status`));
      return part;
    });
    const counts = at("gates").querySelectorAll(".left");
    shown.filter((one) => one.closed).forEach((one, index) => { counts[index].dataset.left = one.remaining_seconds; });
  };

  const showLines = (gate) => {
    const gated = new Map();
    if (!gate.closed) for (const one of gate.gates) if (one.closed && !gated.has(one.tenant)) gated.set(one.tenant, one);
    draw("lines", [gate.lines, gate.lines_waiting, gate.closed, [...gated.keys()]], () => {
      if (!gate.lines.length) return none("Nobody waits.");
      const most = gate.lines[0].waiting;
      const rows = gate.lines.slice(0, 12).map((line) => {
        const name = tenant(line.tenant);
        if (gated.has(line.tenant)) name.append(" ", make("span", "tag", "gated"));
        return [
          [name],
          [bar([[line.waiting / most]]), "bar"],
          [number(line.waiting), "number"],
          [span(line.oldest_waited_seconds), "number"],
        ];
      });
      const part = document.createDocumentFragment();
      part.append(table("Lines, the longest first", [["Tenant"], ["", "bar"], ["Waiting", "number"], ["Oldest", "number"]], rows));
      if (gate.lines_waiting > rows.length) part.append(make("p", "none", `and ${number(gate.lines_waiting - rows.length)} more`));
      return part;
    });
  };

  const svg = (name, fields) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(fields)) node.setAttribute(key, value);
    return node;
  };
  const WIDTH = 150, HEIGHT = 50;
  const spark = (id, label, values, closed, bad) => {
    const peak = Math.max(1e-9, ...values);
    const x = (index) => WIDTH - values.length + 1 + index;
    const y = (value) => (HEIGHT - (value / peak) * (HEIGHT - 3)).toFixed(2);
    const points = values.map((value, index) => `${x(index)},${y(value)}`).join(" ");
    const parts = closed.flatMap((is, index) => (is ? [svg("rect", { class: "shut", x: x(index) - 1, y: 0, width: 1.05, height: HEIGHT })] : []));
    parts.push(svg("line", { class: "floor", x1: 0, y1: HEIGHT, x2: WIDTH, y2: HEIGHT }));
    if (values.length > 1) {
      parts.push(svg("polygon", { class: "area", points: `${x(0)},${HEIGHT} ${points} ${WIDTH},${HEIGHT}` }));
      parts.push(svg("polyline", { class: "curve", points }));
    }
    if (bad && bad.some(Boolean)) parts.push(svg("polyline", { class: "bad", points: bad.map((value, index) => `${x(index)},${y(value)}`).join(" ") }));
    const node = at(id);
    node.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    node.setAttribute("aria-label", label);
    node.replaceChildren(...parts);
    say(`${id}-most`, values.length ? `most ${rate(Math.max(...values))}` : "");
  };

  const showSeries = (status) => {
    const { gate, history, requests } = status;
    const step = history.step_seconds;
    const perSecond = history.answered.map((count) => count / step);
    const bad = history.refused.map((count) => count / step);
    const latest = perSecond.slice(-3);
    const mean = latest.reduce((sum, value) => sum + value, 0) / Math.max(1, latest.length);
    say("rate", rate(gate.rate_per_second));
    const pin = gate.ceiling_per_second;
    const holds = pin !== null && pin < gate.rate_per_second;
    say("ceiling", pin === null ? "learned; no ceiling is set" : holds ? `learned, but the ceiling of ${rate(pin)} holds` : `learned; the ceiling is ${rate(pin)}`);
    const share = status.share;
    at("share").hidden = !share;
    if (share) {
      const replicas = plural(share.members, "replica", "replicas");
      const part = `${Math.round(share.part * 100)} % of it is this one's`;
      say("share", share.up ? `shared by ${replicas}; ${part}` : `cut off from ${replicas}${share.trouble ? ` (${share.trouble.kind})` : ""}; ${part}`);
    }
    say("waiting", number(gate.waiting));
    say("oldest", gate.waiting ? `the oldest for ${span(gate.oldest_waited_seconds)}` : `${plural(gate.in_flight, "request", "requests")} at the API`);
    say("answers", rate(mean));
    say("refused", `${number(requests.refused)} of ${number(requests.answered)} refused since the start`);
    const minutes = plural(Math.max(1, Math.round(perSecond.length * step / 60)), "minute", "minutes");
    const range = (values) => (values.length ? `between ${rate(Math.min(...values))} and ${rate(Math.max(...values))}` : "not known yet");
    spark("rate-spark", `Rate over the last ${minutes}: ${range(history.rate_per_second)} per second`, history.rate_per_second, history.closed);
    spark("line-spark", `Requests in line over the last ${minutes}: ${range(history.waiting)}`, history.waiting, history.closed);
    spark("answers-spark", `Answers over the last ${minutes}: ${range(perSecond)} per second`, perSecond, history.closed, bad);
  };

  const showCache = (cache) => {
    say("ratio", cache.hit_ratio === null ? "\u2013" : `${Math.round(cache.hit_ratio * 100)} %`);
    say("calls-saved", number(cache.calls_saved));
    say("bytes-saved", bytes(cache.bytes_saved));
    say("held", `${plural(cache.entries, "answer", "answers")}, ${bytes(cache.bytes)}`);
  };

  const showSlow = (slowest) => draw("slow", slowest, () => {
    if (!slowest.length) return none("No calls in the last two minutes.");
    const whole = (one) => one.mean_wait_seconds + one.mean_upstream_seconds;
    const most = Math.max(1e-9, ...slowest.map(whole));
    const rows = slowest.slice(0, 6).map((one) => [
      [tenant(one.tenant)],
      [bar([[one.mean_wait_seconds / most], [one.mean_upstream_seconds / most, "api"]]), "bar"],
      [span(one.mean_wait_seconds), "number"],
      [span(one.mean_upstream_seconds), "number"],
      [span(one.slowest_seconds), "number wide"],
      [number(one.requests), "number wide"],
    ]);
    const part = document.createDocumentFragment();
    part.append(table("Slowest tenants", [["Tenant"], ["", "bar"], ["In line", "number"], ["At the API", "number"], ["Slowest", "number wide"], ["Calls", "number wide"]], rows));
    const heads = part.querySelectorAll("thead tr > *");
    heads[2].prepend(make("span", "key"));
    heads[3].prepend(make("span", "key api"));
    return part;
  });

  const REASONS = {
    api: "429 passed on", deadline: "no turn in time", full: "line full", overloaded: "memory short",
    request: "bad request", shutdown: "Tollgate ends", unlisted: "token not listed", upstream: "API unreachable",
  };
  const showRefusals = (status) => {
    const rows = status.refusals.slice(0, 12).map((one) => ({
      time: new Date((status.at - one.seconds_ago) * 1000).toLocaleTimeString("en-GB"),
      who: one.tenant === null ? "unknown" : one.tenant,
      what: one.route, why: REASONS[one.reason] || one.reason,
      wait: one.retry_after_seconds === null ? "\u2013" : clock(one.retry_after_seconds),
      times: one.times,
    }));
    draw("refusals", rows, () => {
      if (!rows.length) return none("Nothing was refused since the start.");
      const cells = rows.map((one) => {
        const why = make("span", "", one.why);
        if (one.times > 1) why.append(make("span", "quiet times", ` \u00d7${number(one.times)}`));
        return [[one.time, "time"], [tenant(one.who), "who"], [one.what, "wide"], [why], [one.wait, "number"]];
      });
      return table("Recent refusals, the latest first", [["Time", "time"], ["Tenant"], ["Route", "wide"], ["Why"], ["Retry after", "number"]], cells);
    });
  };

  const show = () => {
    say("upstream", told.upstream);
    say("version", `Tollgate ${told.version}`);
    say("uptime", `up ${clock(Math.floor(told.up_seconds))}`);
    at("note").hidden = told.ready;
    if (!told.ready) say("note", "Draining: this process takes no new traffic and ends soon.");
    showVerdict(told);
    showGates(told.gate);
    showLines(told.gate);
    showSeries(told);
    showCache(told.cache);
    showSlow(told.slowest);
    showRefusals(told);
    tick();
  };

  const tick = () => {
    if (!told || isPaused) return;
    for (const node of document.querySelectorAll("[data-left]")) {
      const text = clock(left(Number(node.dataset.left)));
      if (node.textContent !== text) node.textContent = text;
    }
    const count = at("count");
    const remaining = count.dataset.left === undefined ? null : left(Number(count.dataset.left));
    if (remaining !== null) at("fuse-left").style.transform = `scaleX(${longest ? remaining / longest : 0})`;
    const title = remaining === null ? `${at("headline").textContent} \u00b7 Tollgate` : `${clock(remaining)} \u00b7 ${at("headline").textContent} \u00b7 Tollgate`;
    if (document.title !== title) document.title = title;
  };

  const link = (state, text) => {
    at("link").dataset.link = state;
    say("link-text", text);
    document.body.toggleAttribute("data-stale", state === "lost");
  };

  // The browser asks again by itself when the stream breaks; not when it was refused.
  let source = null;
  const listen = () => {
    source = new EventSource("/events");
    source.onmessage = (event) => {
      if (isPaused) return;
      told = JSON.parse(event.data);
      heardAt = now();
      link("live", "live");
      show();
    };
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, 10_000);
    };
  };

  at("pause").addEventListener("click", () => {
    isPaused = !isPaused;
    at("pause").setAttribute("aria-pressed", String(isPaused));
    if (isPaused) link("wait", "paused");
  });
  setInterval(tick, 250);
  setInterval(() => {
    if (isPaused) return;
    const silent = told ? now() - heardAt : now();
    if (silent > 4) link("lost", told ? `no word for ${clock(silent)}` : "cannot connect");
  }, 1000);
  listen();
})();
