// Draws the dashboards in a headless browser, compares the numbers that they show with the expected ones, and saves
// pictures.
//
// The order comes as JSON on the standard input: the pages' address, the time range, and the numbers that must be seen.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";

import { ROOT, drawn, launch } from "./browser.mjs";

const FOLDER = join(ROOT, "dashboards/pictures");
const WIDTH = 1500;

// Pictures, each with the rows of a dashboard that it shows. The rows follow each other there.
const PICTURES = {
  service: {
    "service-traffic": ["Overview", "Traffic"],
    "service-latency": ["Errors", "Latency"],
    "service-storage": ["Garbage collection", "Storage"],
    "service-functions": ["Functions"],
  },
  pipeline: {
    "pipeline-publishing": ["Overview", "Publishing"],
    "pipeline-scraping": ["Compacting", "Scraping"],
  },
};
// Panels without data, since no environment starts within the pictures' time range.
const WITHOUT_DATA = ["Initialization p95"];
// Bands that must show the incident: panels, with their series. A breaker is half open only until the next request, which
// no publish and no scrape need see.
const SEEN = { "Circuit breakers": ["open"], Scrapes: ["up"] };
const VERDICTS = "Verifications by verdict";

const order = JSON.parse(await text(process.stdin));
const faults = [];
const expect = (holds, fault) => void (holds || faults.push(fault));

const browser = await launch({ viewport: { width: WIDTH, height: 1000 } });
try {
  mkdirSync(FOLDER, { recursive: true });
  const page = await browser.newPage();
  page.on("pageerror", (error) => faults.push(`the page fails: ${error.message}`));
  page.on("console", (message) => message.type() === "error" && faults.push(`the page complains: ${message.text()}`));
  page.on("response", (response) => response.status() >= 400 && faults.push(`${response.status()} for ${response.url()}`));
  for (const [dashboard, pictures] of Object.entries(PICTURES)) {
    await open(page, dashboard);
    await compare(page, dashboard);
    for (const [name, rows] of Object.entries(pictures)) {
      const file = join(FOLDER, `${name}.png`);
      await page.screenshot({ path: file, clip: await around(page, rows), fullPage: true });
    }
  }
} finally {
  await browser.close();
}
faults.forEach((fault) => console.error(`  ${fault}`));
if (faults.length > 0) process.exit(1);
console.log(`  ${Object.values(PICTURES).flatMap(Object.keys).length} pictures are drawn, and the numbers in them are right`);

async function open(page, dashboard) {
  const parameters = { dashboard, from: order.from, to: order.to, rate_interval: order.rateInterval };
  await page.goto(`${order.url}?${new URLSearchParams(parameters)}`);
  await drawn(page);
}

async function compare(page, dashboard) {
  const panels = await page.$$eval("[data-panel]", (panels) =>
    panels.map((panel) => ({ title: panel.dataset.panel, state: panel.dataset.state, text: panel.innerText })),
  );
  for (const { title, state, text } of panels) {
    expect(state === "drawn", `${dashboard}: "${title}": ${text}`);
    const empty = text.includes("No data");
    expect(empty === WITHOUT_DATA.includes(title), `${dashboard}: "${title}" has ${empty ? "no data" : "data"}`);
    if (title in order.numbers) {
      const shown = text.replace(title, "").trim();
      const expected = Math.round(order.numbers[title]).toLocaleString("en-US");
      expect(shown === expected, `${dashboard}: "${title}" shows ${shown}, not ${expected}`);
      delete order.numbers[title];
    }
    for (const series of SEEN[title] ?? []) {
      const values = await page.$$eval(
        `[data-panel="${title}"] [data-series="${series}"] [data-value]`,
        (stretches) => stretches.map((stretch) => Number(stretch.dataset.value)),
      );
      const incident = title === "Scrapes" ? values.includes(0) : values.some((value) => value > 0);
      expect(incident, `${dashboard}: "${title}" does not show the incident in ${series}: ${values}`);
    }
    if (title === VERDICTS) await compareLegend(page);
  }
  if (dashboard === Object.keys(PICTURES).at(-1)) {
    expect(Object.keys(order.numbers).length === 0, `no panel shows ${Object.keys(order.numbers)}`);
  }
}

/** Compares the legend's largest values with those that Prometheus returns for the same steps. */
async function compareLegend(page) {
  const rows = await page.$$eval(`[data-panel="${VERDICTS}"] tbody tr`, (rows) =>
    rows.map((row) => [...row.querySelectorAll("td")].map((cell) => cell.innerText.trim())),
  );
  const shown = Object.fromEntries(rows.map(([name, , largest]) => [name, Number.parseFloat(largest)]));
  const step = Math.max(1, Math.ceil((order.to - order.from) / 240));
  const query = `sum by (verdict) (rate(sigil_verify_total{job="sigils"}[${order.rateInterval}s]))`;
  const parameters = { query, start: Math.ceil(order.from / step) * step, end: order.to, step };
  const answer = await (await fetch(new URL(`../api/v1/query_range?${new URLSearchParams(parameters)}`, order.url))).json();
  const verdicts = answer.data.result;
  expect(verdicts.length === rows.length, `the legend of the verdicts has ${rows.length} rows, not ${verdicts.length}`);
  for (const { metric, values } of verdicts) {
    const largest = Math.max(...values.map(([, value]) => Number(value)));
    // The legend shows three digits.
    const right = Math.abs(shown[metric.verdict] - largest) <= largest * 0.005 + 0.005;
    expect(right, `the legend says that ${metric.verdict} was at most ${shown[metric.verdict]}, not ${largest}`);
  }
}

/** Returns the area from the top of the first of these rows to the bottom of the last. */
async function around(page, rows) {
  const [top, bottom] = await page.evaluate((rows) => {
    const headings = [...document.querySelectorAll("[data-row]")];
    const y = (element) => element.getBoundingClientRect().top + window.scrollY;
    const last = headings.findIndex((heading) => heading.dataset.row === rows.at(-1));
    const first = headings.find((heading) => heading.dataset.row === rows[0]);
    return [y(first), y(headings[last + 1] ?? document.querySelector("footer"))];
  }, rows);
  return { x: 0, y: top - 6, width: WIDTH, height: bottom - top };
}
