import { defineConfig } from "vite";

export default defineConfig({
  // Prometheus serves the pages under a path of its own.
  base: "./",
  // Grafana's libraries come in one piece, of which a page uses a small part.
  build: { chunkSizeWarningLimit: 10_000 },
  // Read by dependencies that were written for Node.
  define: { "process.env": {}, global: "globalThis" },
});
