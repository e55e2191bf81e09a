// A browser that does what it is told: one JSON order per line on stdin, one JSON answer per line on stdout.
// Arguments: the folder whose node_modules hold playwright-core and axe-core; the browser's program.
import { createRequire } from "node:module";
import readline from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const [folder, program] = process.argv.slice(2);
const require = createRequire(`${folder}/package.json`);
const { chromium } = require("playwright-core");
const axe = require("axe-core");

// Without the last flags Chromium calls home at every start, which the tests' machine refuses.
const browser = await chromium.launch({
  executablePath: program,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});
let context = null, page = null, complaints = [], asked = [];

async function open({ url, width = 1200, height = 900, scheme = "light", scripts = true, bypass = false, motion = "reduce", scale = 1 }) {
  await context?.close();
  complaints = [];
  asked = [];
  context = await browser.newContext({
    viewport: { width, height }, deviceScaleFactor: scale, colorScheme: scheme, javaScriptEnabled: scripts, bypassCSP: bypass,
    reducedMotion: motion, isMobile: width < 500, hasTouch: width < 500,
  });
  page = await context.newPage();
  page.on("console", (line) => { if (["error", "warning"].includes(line.type())) complaints.push(line.text()); });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => asked.push(request.url()));
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective}: ${event.blockedURI}`));
  });
  const answer = await page.goto(url, { waitUntil: "domcontentloaded" });
  return { status: answer.status(), headers: answer.headers() };
}

const orders = {
  open,
  // `code` is an expression; CSP holds for the page, not for this.
  evaluate: ({ code }) => page.evaluate(code),
  // Asked from here: the page's CSP lets nobody evaluate a text later.
  wait: async ({ code, seconds }) => {
    const end = performance.now() + seconds * 1000;
    while (!(await page.evaluate(code))) {
      if (performance.now() > end) throw new Error(`not within ${seconds} s`);
      await sleep(20);
    }
  },
  press: ({ key }) => page.keyboard.press(key),
  shot: async ({ path, whole = false }) => { await page.screenshot({ path, fullPage: whole }); },
  complaints: async () => ({ console: complaints, violations: await page.evaluate("window.violations") }),
  asked: () => asked,
  axe: async () => {
    await page.evaluate(axe.source);
    const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations", "incomplete"] }));
    const short = (rules) => rules.map((rule) => ({ id: rule.id, help: rule.help, nodes: rule.nodes.map((node) => `${node.html} ${node.failureSummary}`) }));
    return { violations: short(found.violations), incomplete: short(found.incomplete), passes: found.passes.length };
  },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { order, ...details } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ told: (await orders[order](details)) ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ failed: String(error) }));
  }
}
await browser.close();
