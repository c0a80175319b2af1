// Whether Prometheus answers, asked once for the whole page: what it does not answer, it would not answer any panel.

import { useCallback, useEffect, useState } from "react";

import { type Unreachable, reach } from "./prometheus";

const REFRESH_MS = 5000;

interface Reached {
  /** The clock, in seconds since the epoch. It stands still while Prometheus does not answer, and the panels with it. */
  now: number;
  /** When Prometheus last answered. */
  since: number | undefined;
  /** Why it does not answer now. */
  fault: Unreachable | undefined;
  onUnreachable: (fault: Unreachable) => void;
}

export function usePrometheus(): Reached {
  const [opened] = useState(clock);
  const [since, setSince] = useState<number>();
  const [fault, setFault] = useState<Unreachable>();
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout>;
    let closed = false;
    const ask = async () => {
      try {
        await reach();
        if (closed) return;
        setSince(clock());
        setFault(undefined);
      } catch (fault) {
        if (closed) return;
        setFault(fault as Unreachable);
      }
      timer = setTimeout(ask, REFRESH_MS);
    };
    void ask();
    return () => {
      closed = true;
      clearTimeout(timer);
    };
  }, []);
  return { now: since ?? opened, since, fault, onUnreachable: useCallback(setFault, []) };
}

function clock(): number {
  return Date.now() / 1000;
}
