// Starts the headless browser in which the pages are drawn and checked.

import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const PATIENCE_MS = 30_000;

/** Starts the browser with a temporary profile, which is deleted at exit. */
export async function launch(options) {
  const profile = mkdtempSync(join(tmpdir(), "browser-"));
  const browser = await chromium.launchPersistentContext(profile, {
    ...installed(),
    ...options,
    args: [
      // The browser opens only this project's own pages, on a loopback address, and a container may not allow a sandbox.
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  // The browser writes to the profile until it ends, and has ended by then.
  process.on("exit", () => rmSync(profile, { recursive: true, force: true }));
  return browser;
}

/** Returns the browser that scripts/fetch-tools has unpacked, with its libraries, or else the one on the PATH. */
function installed() {
  const own = join(ROOT, ".tools/chromium/usr/lib/chromium/chromium");
  if (existsSync(own)) {
    const folder = join(ROOT, ".tools/chromium/usr/lib");
    const libraries = readdirSync(folder)
      .filter((name) => name.includes("-linux-gnu"))
      .flatMap((name) => [join(folder, name), join(folder, name, "pulseaudio")]);
    return { executablePath: own, env: { ...process.env, LD_LIBRARY_PATH: libraries.join(":") } };
  }
  const found = (process.env.PATH ?? "")
    .split(":")
    .flatMap((folder) => ["chromium", "chromium-browser", "google-chrome"].map((name) => join(folder, name)))
    .find(existsSync);
  if (found === undefined) throw new Error("Chromium is missing: run scripts/fetch-tools draw");
  return { executablePath: found };
}

/** Waits until every panel of a dashboard's page shows its data. */
export async function drawn(page) {
  await page.waitForFunction(
    () => {
      const panels = [...document.querySelectorAll("[data-panel]")];
      return panels.length > 0 && panels.every((panel) => panel.dataset.state !== "loading");
    },
    undefined,
    { timeout: PATIENCE_MS },
  );
  await page.evaluate(async () => {
    await document.fonts.ready;
    // Curves are drawn on canvases, in the frames after their data arrive.
    for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
  });
}
