// Shows the alerts, since not every build of Prometheus has its own page of them.

import { type GrafanaTheme2, dateTimeFormat } from "@grafana/data";
import { useEffect, useState } from "react";

import { type Alert, Unreachable, alerts } from "./prometheus";

interface Props {
  theme: GrafanaTheme2;
  /** The clock. The alerts are asked for again whenever it changes. */
  now: number;
  onUnreachable: (reason: Unreachable) => void;
}

const ORDER = ["firing", "pending", "inactive"];

export function Alerts({ theme, now, onUnreachable }: Props) {
  const [known, setKnown] = useState<Alert[]>([]);
  const [error, setError] = useState<Error>();
  useEffect(() => {
    let outdated = false;
    alerts().then(
      (found) => outdated || setKnown(found),
      (reason: Error) => outdated || (reason instanceof Unreachable ? onUnreachable(reason) : setError(reason)),
    );
    return () => {
      outdated = true;
    };
  }, [now, onUnreachable]);
  if (error !== undefined) throw error;

  const colours: Record<string, string> = { firing: theme.colors.error.text, pending: theme.colors.warning.text };
  const cell = { padding: "6px 12px 6px 0", verticalAlign: "top" as const };
  const sorted = [...known].sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state));
  return (
    <ul style={{ listStyle: "none", margin: 8, padding: 0 }}>
      {sorted.map(({ name, state, labels, alerts: active }) => (
        <li key={name} data-alert={name} data-state={state} style={{ borderTop: `1px solid ${theme.colors.border.weak}`, ...cell }}>
          <strong style={{ color: colours[state] ?? theme.colors.text.secondary }}>{state}</strong> {name}{" "}
          <span style={{ color: theme.colors.text.secondary }}>{labels["severity"]}</span>
          {active.map((alert) => (
            <div key={JSON.stringify(alert.labels)}>
              since {dateTimeFormat(alert.activeAt, { format: "YYYY-MM-DD HH:mm:ss" })}: {alert.annotations["summary"]}
            </div>
          ))}
        </li>
      ))}
    </ul>
  );
}
