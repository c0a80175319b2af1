// The dashboards as a page. It asks the Prometheus that serves it.

import { ThemeContext, createTheme } from "@grafana/data";
import { initPluginTranslations } from "@grafana/i18n";
import { GlobalStyles, PortalContainer } from "@grafana/ui";
import { Component, type ReactNode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

import { Page } from "./Page";

const root = document.getElementById("page")!;
const theme = createTheme({ colors: { mode: "dark" } });

function App() {
  const [width, setWidth] = useState(root.clientWidth);
  useEffect(() => {
    // Not the window's: beside its content there may be a scroll bar.
    const observer = new ResizeObserver(() => setWidth(root.clientWidth));
    observer.observe(root);
    return () => observer.disconnect();
  }, []);
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <Boundary>
        <Page theme={theme} width={width} />
      </Boundary>
      <PortalContainer />
    </ThemeContext.Provider>
  );
}

/** Says what is wrong with what the address asks for, or with the page, where React would leave it empty. */
class Boundary extends Component<{ children: ReactNode }, { error?: Error }> {
  override state: { error?: Error } = {};

  static getDerivedStateFromError(error: Error) {
    return { error };
  }

  override render() {
    const { error } = this.state;
    if (error === undefined) return this.props.children;
    return (
      <main style={{ padding: 16 }}>
        <p role="alert">This cannot be shown: {error.message}.</p>
        <a href="?" style={{ color: theme.colors.text.link }}>
          The last five minutes of the service
        </a>
      </main>
    );
  }
}

// Grafana's components take their words from there, and refuse to be drawn before.
await initPluginTranslations("sigil-dashboards");
createRoot(root).render(<App />);
