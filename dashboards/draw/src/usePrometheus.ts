// Asks once for the whole page whether Prometheus answers: if it does not, it would not answer any panel either.

import { useCallback, useEffect, useState } from "react";

import { type Unreachable, reach } from "./prometheus";

const REFRESH_MS = 5000;

interface Reached {
  /** The clock, in seconds since the epoch. While Prometheus does not answer, it stands still, and so do the panels. */
  now: number;
  /** Time of Prometheus's last answer, in seconds since the epoch. */
  since: number | undefined;
  /** The reason why Prometheus does not answer now, if it does not. */
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
