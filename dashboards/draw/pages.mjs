// Checks what a person sees of the dashboards of a local bundle: at the width of a desktop and of a phone, with wrong
// addresses, and while Prometheus hangs or is gone.
//
// The order comes as JSON on the standard input: the pages' address, the process id of the Prometheus that serves them and
// that is killed at the end, the numbers that the page must show, the number of alerts, and a folder for screenshots.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";

import { drawn, launch } from "./browser.mjs";

const WIDTHS = { desk: 1440, phone: 390 };
const DASHBOARDS = ["service", "pipeline"];
const ZONE = "Europe/Berlin";
// Wrong addresses, each with a text that the page must show.
const WRONG = {
  "?range=abc": 'range is "abc"',
  "?range=": 'range is ""',
  "?range=1e9": 'range is "1e9"',
  "?range=99999999999": "range is",
  "?range=300&range=900": "range is given twice",
  "?from=1": "from and to are needed together",
  "?from=2000&to=1000": "from must be before to",
  "?from=1000&to=2000&range=5": "range does not go with from and to",
  "?from=1764020000000&to=1764020300000": 'to is "1764020300000"',
  "?rate_interval=-1": 'rate_interval is "-1"',
  "?dashboard=constructor": 'dashboard is "constructor"',
  "?rnage=300": "there is no parameter rnage",
};
// Longest time until the page notices. A request takes 5 s at most, and the page asks every 5 s.
const NOTICED_MS = 30_000;

const order = JSON.parse(await text(process.stdin));
const faults = [];
const expect = (holds, fault) => void (holds || faults.push(fault));
mkdirSync(order.folder, { recursive: true });

const browser = await launch({ timezoneId: ZONE, viewport: { width: WIDTHS.desk, height: 1000 } });
const page = await browser.newPage();
page.on("pageerror", (error) => faults.push(`the page fails: ${error.message}`));
try {
  await ranges();
  for (const [device, width] of Object.entries(WIDTHS)) {
    await page.setViewportSize({ width, height: 900 });
    for (const dashboard of DASHBOARDS) await look(dashboard, device, width);
  }
  await page.setViewportSize({ width: WIDTHS.desk, height: 1000 });
  await numbers();
  await links();
  await alerts();
  for (const [address, said] of Object.entries(WRONG)) await wrong(address, said);
  await withoutPrometheus();
} finally {
  await browser.close();
}
faults.forEach((fault) => console.error(fault));
if (faults.length > 0) process.exit(1);

async function look(dashboard, device, width) {
  const where = `${dashboard} at ${width}`;
  await page.goto(`${order.url}?dashboard=${dashboard}`);
  await drawn(page);
  await page.screenshot({ path: join(order.folder, `${dashboard}-${device}.png`), fullPage: true });
  const seen = await page.evaluate(() => ({
    scrolls: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    right: document.querySelector("#page").getBoundingClientRect().right,
    header: document.querySelector("header").innerText,
    panels: [...document.querySelectorAll("[data-panel]")].map((panel) => {
      const { left, right } = panel.getBoundingClientRect();
      return { title: panel.dataset.panel, state: panel.dataset.state, left, right };
    }),
    // A row is cut off if its box ends below an element around it that hides its overflow.
    cut: [...document.querySelectorAll("[data-panel] tbody tr, [data-panel] li")].filter((row) => {
      const panel = row.closest("[data-panel]");
      const bottoms = [];
      for (let around = row.parentElement; around !== panel.parentElement; around = around.parentElement) {
        if (getComputedStyle(around).overflowY !== "visible") bottoms.push(around.getBoundingClientRect().bottom);
      }
      return row.getBoundingClientRect().bottom > Math.min(...bottoms) + 1;
    }).map((row) => `${row.closest("[data-panel]").dataset.panel}: ${row.innerText.replace(/\s+/g, " ")}`),
  }));
  expect(seen.scrolls === 0, `${where}: it scrolls sideways by ${seen.scrolls} pixels`);
  expect(/as of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d/.test(seen.header), `${where}: no time in "${seen.header}"`);
  expect(seen.header.includes(ZONE), `${where}: no time zone in "${seen.header}"`);
  expect(seen.cut.length === 0, `${where}: rows of legends are cut off: ${seen.cut.join("; ")}`);
  for (const { title, state, left, right } of seen.panels) {
    expect(state === "drawn", `${where}: "${title}" is not drawn`);
    expect(left >= 0 && right <= seen.right, `${where}: "${title}" is from ${left} to ${right}, beyond ${seen.right}`);
  }
  const columns = new Set(seen.panels.map(({ left }) => left)).size;
  expect(device === "phone" ? columns === 1 : columns > 1, `${where}: panels in ${columns} columns`);
}

async function numbers() {
  await page.goto(order.url);
  await drawn(page);
  for (const [title, expected] of Object.entries(order.numbers)) {
    const seen = await page.locator(`[data-panel="${title}"]`).innerText();
    const shown = seen.replace(title, "").trim();
    expect(shown === String(expected), `"${title}" shows ${shown}, not ${expected}`);
  }
}

/** Checks that no sample lies between the windows of two points, however far apart the points are. */
async function ranges() {
  const asked = [];
  const listener = (request) => asked.push(new URL(request.url()));
  page.on("request", listener);
  await page.goto(`${order.url}?range=21600`);
  await drawn(page);
  page.off("request", listener);
  const rates = asked.flatMap(({ searchParams }) => {
    const windows = [...(searchParams.get("query") ?? "").matchAll(/\brate\([^[]*\[(\d+)s\]/g)];
    return windows.map(([, seconds]) => ({ step: Number(searchParams.get("step")), window: Number(seconds) }));
  });
  expect(rates.length > 0, "no rate is asked for");
  for (const { step, window } of rates) expect(window >= step, `a rate over ${window} s, every ${step} s`);
}

async function links() {
  const addresses = await page.$$eval("a[href]", (links) => links.map((link) => link.href));
  expect(addresses.length > 0, "there are no links");
  for (const address of new Set(addresses)) {
    const { status } = await fetch(address);
    expect(status === 200, `${status} for the link ${address}`);
  }
}

async function alerts() {
  await page.goto(`${order.url}?dashboard=alerts`);
  await page.waitForSelector("[data-alert]", { timeout: NOTICED_MS });
  await page.screenshot({ path: join(order.folder, "alerts.png"), fullPage: true });
  const seen = await page.$$eval("[data-alert]", (alerts) => alerts.map(({ dataset }) => dataset.alert));
  expect(seen.length === order.alerts, `${seen.length} alerts, not ${order.alerts}: ${seen}`);
}

async function wrong(address, said) {
  await page.goto(order.url + address);
  const shown = await page.locator('[role="alert"]').innerText({ timeout: NOTICED_MS });
  expect(shown.includes(said), `${address}: "${shown}" does not say: ${said}`);
}

async function withoutPrometheus() {
  await page.goto(order.url);
  await drawn(page);
  process.kill(order.prometheus, "SIGSTOP");
  await alone("hangs", "did not answer");
  process.kill(order.prometheus, "SIGCONT");
  await page.waitForSelector('[role="alert"]', { state: "detached", timeout: NOTICED_MS });
  process.kill(order.prometheus, "SIGKILL");
  await alone("is gone", "cannot be reached");
}

/** Checks that one line names the fault, and that every panel still shows its data. */
async function alone(what, said) {
  await page.waitForSelector(`[role="alert"]:has-text("${said}")`, { timeout: NOTICED_MS });
  await page.screenshot({ path: join(order.folder, `prometheus-${what.replaceAll(" ", "-")}.png`) });
  const alerts = await page.$$eval('[role="alert"]', (alerts) => alerts.length);
  const failed = await page.$$eval('[data-panel]:not([data-state="drawn"])', (panels) => panels.length);
  expect(alerts === 1 && failed === 0, `Prometheus ${what}: ${alerts} lines, ${failed} panels that are not drawn`);
}
