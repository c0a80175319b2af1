// The dashboards as a page. It asks the Prometheus that serves it.

import { ThemeContext, createTheme } from "@grafana/data";
import { initPluginTranslations } from "@grafana/i18n";
import { GlobalStyles, PortalContainer } from "@grafana/ui";
import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

import { Page } from "./Page";

const theme = createTheme({ colors: { mode: "dark" } });

function App() {
  const [width, setWidth] = useState(document.documentElement.clientWidth);
  useEffect(() => {
    const resized = () => setWidth(document.documentElement.clientWidth);
    window.addEventListener("resize", resized);
    return () => window.removeEventListener("resize", resized);
  }, []);
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <Page theme={theme} width={width} />
      <PortalContainer />
    </ThemeContext.Provider>
  );
}

// Grafana's components take their words from there, and refuse to be drawn before.
await initPluginTranslations("sigil-dashboards");
createRoot(document.getElementById("page")!).render(<App />);
