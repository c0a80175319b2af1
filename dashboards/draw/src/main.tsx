// Shows the dashboards as a page, which asks the Prometheus that serves it.

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
    // The window's width would be wrong: a scroll bar may take a part of it.
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

/** Shows what is wrong with the address, or with the page, where React would show nothing. */
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

// Grafana's components take their texts from the translations, and cannot be drawn before these are loaded.
await initPluginTranslations("sigil-dashboards");
createRoot(root).render(<App />);
