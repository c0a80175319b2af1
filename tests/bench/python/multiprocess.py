"""A scrape by prometheus_client's multi-process collector, over the files that as many processes would have left.

    multiprocess.py <folder> <processes> <counters> <gauges> <histograms>

Says "ready", and then answers each line that it reads: "scrape" with the CPU time that one took, "page" with the
page. The counts are those of tests/src/bench/population.rs.
"""

import json
import os
import pathlib
import struct
import sys
import time

folder, numbers = pathlib.Path(sys.argv[1]), sys.argv[2:]
processes, counters, gauges, histograms = map(int, numbers)
os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest  # noqa: E402
from prometheus_client.mmap_dict import MmapedDict  # noqa: E402
from prometheus_client.multiprocess import MultiProcessCollector  # noqa: E402

BOUNDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]
VALUES = BOUNDS + [10.0]


def observations(process, label):
    return [(process + 3 * label + bucket) % 3 for bucket in range(len(VALUES))]


def value_of(process, kind, label, part):
    """What this process has counted: part is a histogram's bucket, or "sum"."""
    if kind == "counter":
        return float(1 + (process * 31 + label * 7) % 1000)
    if kind == "gauge":
        return float((process + label) % 50)
    counts = observations(process, label)
    if part == "sum":
        return sum(count * value for count, value in zip(counts, VALUES))
    return float(counts[part])


# The library itself writes the files of this process: those of the others differ only in their numbers.
registry = CollectorRegistry()
requests = Counter("bench_requests_total", "Requests by route.", ["route", "code"], registry=registry)
in_flight = Gauge(
    "bench_in_flight", "Requests that are worked on, by route.", ["route"], registry=registry, multiprocess_mode="livesum"
)
duration = Histogram(
    "bench_duration_seconds", "Time that requests took, by route.", ["route"], buckets=BOUNDS, registry=registry
)
for label in range(counters):
    requests.labels(f"/route/{label}", "200").inc()
for label in range(gauges):
    in_flight.labels(f"/route/{label}").set(1)
for label in range(histograms):
    for value in VALUES:
        duration.labels(f"/route/{label}").observe(value)


def number_at(key):
    """Whose number stands under a key of the library's files."""
    _, sample, labels, _ = json.loads(key)
    label = int(labels["route"].rsplit("/", 1)[1])
    if sample == "bench_duration_seconds_sum":
        return "histogram", label, "sum"
    if sample == "bench_duration_seconds_bucket":
        bound = float(labels["le"])
        return "histogram", label, BOUNDS.index(bound) if bound in BOUNDS else len(BOUNDS)
    return ("counter" if sample == "bench_requests_total" else "gauge"), label, None


for written in list(folder.glob("*.db")):
    positions = MmapedDict(str(written))._positions
    content = written.read_bytes()
    used = bytearray(content[: struct.unpack_from("i", content)[0]])
    places = [(place, number_at(key)) for key, place in positions.items()]
    stem = written.stem.rsplit("_", 1)[0]
    written.unlink()
    for process in range(processes):
        for place, number in places:
            struct.pack_into("d", used, place, value_of(process, *number))
        path = folder / f"{stem}_{process + 1}.db"
        path.write_bytes(used)
        os.truncate(path, len(content))


def scrape():
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))
    return generate_latest(registry)


print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "page":
        print(json.dumps({"page": scrape().decode()}), flush=True)
    else:
        started = time.process_time()
        scrape()
        print(json.dumps({"milliseconds": (time.process_time() - started) * 1000}), flush=True)
