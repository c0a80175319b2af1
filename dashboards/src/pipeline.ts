// The dashboard of the metrics pipeline, which shows whether the other dashboard can be trusted.

import { type Row, dashboard } from "./layout.js";
import { bands, badFrom, bars, curves, curvesWithLimit, NEUTRAL, number, stacked } from "./panels.js";
import { curve, OF_FUNCTIONS, rate, risenInAnHour, series, value } from "./query.js";

// Largest size of a DynamoDB item, in bytes. A snapshot is one item.
const LARGEST_ITEM = 400 * 1024;

const publishes = `sum by (function) (${rate("prometheus_dynamodb_publishes_total", OF_FUNCTIONS)})`;
const failures = `sum by (function) (${rate("prometheus_dynamodb_publish_failures_total", OF_FUNCTIONS)})`;

const overview: Row = {
  title: "Overview",
  height: 4,
  panels: [
    [4, number({
      title: "Scrapes that work",
      description: "Share of the selected targets whose last scrape worked.",
      runbook: "sigilmetricsscrapefailing",
      unit: "percentunit",
      queries: [value(`avg(${series("up")})`, "up")],
    }, [{ value: null, color: "red" }, { value: 1, color: "green" }]).decimals(0)],
    [4, number({
      title: "Scrape duration",
      description: "Time that the metrics function took for the last scrape to read the stats table and to merge it.",
      runbook: "prometheusdynamodbscrapeslow",
      unit: "s",
      queries: [value(`max(${series("prometheus_dynamodb_scrape_duration_seconds")})`, "duration")],
    }, badFrom(4, 2))],
    [4, number({
      title: "Series",
      description: "Series that the page shows, without those that describe the scrape.",
      runbook: "series",
      unit: "locale",
      queries: [value(`sum(${series("prometheus_dynamodb_series")})`, "series")],
    }, NEUTRAL).decimals(0)],
    [4, number({
      title: "Conflicts",
      description: "Metrics on which environments disagree: in their type, labels, buckets or samples' names.",
      runbook: "prometheusdynamodbconflict",
      unit: "short",
      queries: [value(`sum(${series("prometheus_dynamodb_conflicts")})`, "conflicts")],
    }, badFrom(1)).decimals(0)],
    [4, number({
      title: "Unreadable items",
      description: "Items of the stats table that were left out of the last scrape.",
      runbook: "prometheusdynamodbitemunreadable",
      unit: "short",
      queries: [value(`sum(${series("prometheus_dynamodb_unreadable_items")})`, "unreadable")],
    }, badFrom(1)).decimals(0)],
    [4, number({
      title: "Not folded: too large",
      description: "Environments that are gone but are not folded, because one of their series could outgrow an item by itself.",
      runbook: "prometheusdynamodbbasefull",
      unit: "short",
      queries: [value(`max(${series("prometheus_dynamodb_base_full_writers")})`, "not folded")],
    }, badFrom(1)).decimals(0)],
  ],
};

const publishing: Row = {
  title: "Publishing",
  height: 9,
  panels: [
    [8, curves({
      title: "Publishes",
      description: "Snapshots that were published: each is one write to the stats table.",
      runbook: "prometheusdynamodbpublishesfailing",
      unit: "wps",
      queries: [curve(publishes, "{{function}}")],
    })],
    [8, stacked({
      title: "Publish failures",
      description: "Attempts to publish that failed; the next one carries what they would have. Known only once one has worked again.",
      runbook: "prometheusdynamodbpublishesfailing",
      unit: "wps",
      queries: [
        curve(
          `sum by (function, reason) (${rate("prometheus_dynamodb_publish_failures_total", OF_FUNCTIONS)}) > 0`,
          "{{function}}: {{reason}}",
        ),
      ],
    }, "below")],
    [8, curvesWithLimit({
      title: "Publish failure ratio",
      description: "Share of the attempts to publish that failed. From 10 % on it is an alert.",
      runbook: "prometheusdynamodbpublishesfailing",
      unit: "percentunit",
      queries: [curve(`${failures} / (${publishes} + ${failures}) >= 0`, "{{function}}")],
    }, 0.1)],
    [8, bars({
      title: "Largest snapshot",
      description: "Size of the largest snapshot that a live environment last published. DynamoDB charges by 1 KB, and takes no more than 400 KB.",
      runbook: "series",
      unit: "bytes",
      queries: [value(`max by (function) (${series("prometheus_dynamodb_snapshot_bytes", OF_FUNCTIONS)})`, "{{function}}")],
    }, badFrom(LARGEST_ITEM * 0.75, LARGEST_ITEM * 0.5)).max(LARGEST_ITEM)],
    [8, curves({
      title: "Snapshot size",
      description: "Size of the largest snapshot that a live environment last published.",
      runbook: "series",
      unit: "bytes",
      queries: [curve(`max by (function) (${series("prometheus_dynamodb_snapshot_bytes", OF_FUNCTIONS)})`, "{{function}}")],
    })],
    [8, curves({
      title: "Series left out",
      description:
        "Series that are not published: beyond STATS_MAX_SERIES, or refused because no page could show them. The log names each.",
      runbook: "prometheusdynamodbseriesdropped",
      unit: "ops",
      queries: [
        curve(`sum by (function) (${rate("prometheus_dynamodb_dropped_series_total", OF_FUNCTIONS)})`, "{{function}}: too many"),
        curve(`sum(${rate("prometheus_dynamodb_refused_series_total", OF_FUNCTIONS)})`, "refused"),
      ],
    }, "beside")],
  ],
};

const compacting: Row = {
  title: "Compacting",
  height: 9,
  panels: [
    [12, stacked({
      title: "Environments by state",
      description:
        "Execution environments whose snapshots are not folded: each is read by every scrape. Sealed ones are about to be folded.",
      runbook: "prometheusdynamodbcompactionoverdue",
      unit: "short",
      queries: [curve(`sum by (state) (${series("prometheus_dynamodb_writers")})`, "{{state}}")],
    })],
    [12, curvesWithLimit({
      title: "Age of the oldest unfolded snapshot",
      description: "Time since the publish of the snapshot that has waited longest to be folded. Three hours are an alert.",
      runbook: "prometheusdynamodbcompactionoverdue",
      unit: "s",
      queries: [curve(`max(${series("prometheus_dynamodb_oldest_unfolded_age_seconds")})`, "age")],
    }, 10800)],
    [8, curves({
      title: "Folds and burials",
      description:
        "Environments whose metrics were added to a base within the last hour, and their snapshots that were deleted afterwards.",
      runbook: "prometheusdynamodbcompactionoverdue",
      unit: "short",
      queries: [
        curve(`sum(${risenInAnHour("prometheus_dynamodb_folds_total")})`, "folded"),
        curve(`sum(${risenInAnHour("prometheus_dynamodb_burials_total")})`, "buried"),
      ],
    })],
    [8, curves({
      title: "Conflicts by kind",
      description: "Metrics on which environments disagree, by what they disagree in.",
      runbook: "prometheusdynamodbconflict",
      unit: "short",
      queries: [curve(`sum by (kind) (${series("prometheus_dynamodb_conflicts")})`, "{{kind}}")],
    }, "beside")],
    [8, curves({
      title: "Left out or not folded",
      description: "Items left out of a scrape, and environments not folded because one of their series could outgrow an item.",
      runbook: "prometheusdynamodbbasefull",
      unit: "short",
      queries: [
        curve(`sum(${series("prometheus_dynamodb_unreadable_items")})`, "unreadable"),
        curve(`max(${series("prometheus_dynamodb_base_full_writers")})`, "not folded"),
      ],
    })],
  ],
};

const scraping: Row = {
  title: "Scraping",
  height: 9,
  panels: [
    [8, curvesWithLimit({
      title: "What a scrape takes",
      description: "As the metrics function measures it, and as Prometheus does, with the way there and back. From 4 s on it is an alert.",
      runbook: "prometheusdynamodbscrapeslow",
      unit: "s",
      queries: [
        curve(`max(${series("prometheus_dynamodb_scrape_duration_seconds")})`, "reading and merging"),
        curve(`max(${series("scrape_duration_seconds")})`, "altogether"),
      ],
    }, 4)],
    [8, curves({
      title: "What a scrape brings",
      description: "Series on the page, and samples as Prometheus counts them: a histogram is one series and many samples.",
      runbook: "series",
      unit: "short",
      queries: [
        curve(`sum(${series("prometheus_dynamodb_series")})`, "series"),
        curve(`sum(${series("scrape_samples_scraped")})`, "samples"),
      ],
    })],
    [8, bands({
      title: "Scrapes",
      description: "Whether each scrape worked: 1 if it did. While it does not, nothing else here is up to date.",
      runbook: "sigilmetricsscrapefailing",
      unit: "short",
      queries: [curve(`min(${series("up")})`, "up")],
    }, { up: [{ value: null, color: "red" }, { value: 1, color: "green" }] })],
  ],
};

export const pipeline = dashboard(
  "sigils-pipeline",
  "Sigils: metrics pipeline",
  "How the functions' metrics come to Prometheus: publishing, compacting and scraping.",
  [overview, publishing, compacting, scraping],
);
