import { readFileSync } from "node:fs";
import { type Plugin, defineConfig } from "vite";

// Files that Grafana's components request from their server, by path. The icons are in the components' package; the font is
// the one that a Grafana server has.
const SERVED = {
  "public/build/img/icons/unicons/info-circle.svg": "@grafana/ui/dist/public/img/icons/unicons/info-circle.svg",
  "public/build/img/icons/unicons/exclamation-triangle.svg":
    "@grafana/ui/dist/public/img/icons/unicons/exclamation-triangle.svg",
  "public/fonts/inter/Inter-Regular.woff2": "@fontsource/inter/files/inter-latin-400-normal.woff2",
  "public/fonts/inter/Inter-Medium.woff2": "@fontsource/inter/files/inter-latin-500-normal.woff2",
};

const served: Plugin = {
  name: "what-a-grafana-server-would-serve",
  generateBundle() {
    for (const [fileName, source] of Object.entries(SERVED)) {
      this.emitFile({ type: "asset", fileName, source: readFileSync(new URL(`node_modules/${source}`, import.meta.url)) });
    }
  },
};

export default defineConfig({
  // Prometheus serves the pages below a path.
  base: "./",
  plugins: [served],
  // Grafana's libraries come as one large module, of which a page uses a small part.
  build: { chunkSizeWarningLimit: 10_000 },
  // Dependencies that were written for Node read these.
  define: { "process.env": {}, global: "globalThis" },
});
