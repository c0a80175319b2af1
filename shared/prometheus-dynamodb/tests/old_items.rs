//! Checks that items of earlier versions are still read as they were meant. Each file in `tests/fixtures/` holds the
//! items of a table and the page that they give.
//!
//! `WRITE_FIXTURE=name` writes a fixture of this name from the items that this version stores. Do so before the items
//! change.

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use prometheus::{Gauge, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use prometheus_dynamodb::internals::exposition::Format;
use prometheus_dynamodb::internals::item::{Base, Encoded, Snapshot, StructureId, StructureItem, WriterId};
use prometheus_dynamodb::internals::protocol::condition::PutCondition;
use prometheus_dynamodb::internals::table::{CompactStats, PublishStats, ReadStats, ReadStructures, TableTime};
use prometheus_dynamodb::internals::{compact, wire};
use prometheus_dynamodb::{GaugeMerge, MemoryStatsTable, Publisher, Sources, WriterSettings};
use serde_json::{Value, json};
use support::{deadline, page, settings};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn encoded(item: &Value) -> Encoded {
    Encoded { format: item["format"].as_u64().unwrap(), bytes: bytes(&item["families"]) }
}

/// Returns the page as text, without the line that depends on how long the scrape took.
async fn shown(table: &MemoryStatsTable) -> String {
    let text = String::from_utf8(Format::Text.render(&page(table).await)).unwrap();
    let lines = text.lines().filter(|line| !line.contains("prometheus_dynamodb_scrape_duration_seconds"));
    lines.map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn items_of_earlier_versions_make_the_page_that_they_made() {
    if let Ok(name) = std::env::var("WRITE_FIXTURE") {
        std::fs::write(fixtures().join(format!("{name}.json")), written().await).unwrap();
    }
    let mut read = 0;
    for file in std::fs::read_dir(fixtures()).unwrap() {
        let path = file.unwrap().path();
        let fixture: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let table = table_of(&fixture).await;
        assert_eq!(shown(&table).await, fixture["page"].as_str().unwrap(), "{}", path.display());
        read += 1;
    }
    assert!(read > 0, "there is no fixture");
}

async fn table_of(fixture: &Value) -> MemoryStatsTable {
    let table = MemoryStatsTable::default();
    table.set_time(fixture["now_ms"].as_u64().unwrap());
    for item in fixture["structures"].as_array().unwrap() {
        let id = StructureId::parse(item["id"].as_str().unwrap()).unwrap();
        let structure = StructureItem { families: encoded(item), renewed_at_ms: item["renewed_at"].as_u64().unwrap() };
        table.put_structure(0, id, &structure).await.unwrap();
    }
    for item in fixture["snapshots"].as_array().unwrap() {
        let snapshot = Snapshot {
            writer: WriterId::parse(item["writer"].as_str().unwrap()).unwrap(),
            shard: 0,
            seq: item["seq"].as_u64().unwrap(),
            function: "encode".to_owned(),
            version: "1".to_owned(),
            updated_at_ms: item["updated_at"].as_u64().unwrap(),
            sealed_at_ms: item["sealed_at"].as_u64(),
            closed: item["closed"].as_bool().unwrap(),
            families: encoded(item),
        };
        table.put_snapshot(&snapshot, PutCondition::Absent).await.unwrap();
    }
    let item = &fixture["base"];
    let folded = wire::decode_folded(&bytes(&item["folded"])).unwrap();
    let base = Base { version: 1, folded, families: encoded(item), parts: Vec::new() };
    assert!(table.put_base(0, &base).await.unwrap());
    table
}

/// Returns a fixture of the items that this version stores: snapshots of both formats, a structure, and a base.
async fn written() -> String {
    let table = MemoryStatsTable::default();
    for (format, closes) in [(wire::FORMAT, false), (wire::FORMAT_STRUCTURED, false), (wire::FORMAT_STRUCTURED, true)] {
        let registry = Registry::new();
        let requests = IntCounterVec::new(Opts::new("requests_total", "Requests, \"by\" path."), &["path"]).unwrap();
        let options = HistogramOpts::new("seconds", "Seconds.").buckets(vec![0.1, 1.0]);
        let seconds = HistogramVec::new(options, &["operation"]).unwrap();
        let last = Gauge::new("last", "Last.").unwrap();
        registry.register(Box::new(requests.clone())).unwrap();
        registry.register(Box::new(seconds.clone())).unwrap();
        registry.register(Box::new(last.clone())).unwrap();
        // Of the publishers of a process to one table, only the first has the metrics of the environment.
        let writer = WriterSettings::builder(WriterId::random().to_string(), "encode", "1");
        let writer = writer.pace(Duration::ZERO, 1).format(format);
        let sources = Sources::new(registry).gauge("last", GaugeMerge::Max);
        let publisher = Publisher::new(table.clone(), sources, writer.build().unwrap(), Instant::now()).unwrap();
        requests.with_label_values(&["/"]).inc_by(3);
        seconds.with_label_values(&["put"]).observe(0.3);
        last.set(format as f64 + 0.5);
        // A structure is stored once it has been the same for some publishes. One series comes up later.
        for _ in 0..12 {
            publisher.publish().await.unwrap();
        }
        requests.with_label_values(&["/late"]).inc();
        publisher.publish().await.unwrap();
        if closes {
            publisher.close().await;
        }
    }
    compact(&table, &settings(), deadline()).await.1.unwrap();
    let now_ms = table.now_ms();
    table.set_time(now_ms);

    let mut structures = Vec::new();
    for stored in table.structures(0).await.unwrap().into_iter().map(Result::unwrap) {
        let structure = table.structure(0, stored.id).await.unwrap().unwrap();
        let Encoded { format, bytes } = structure.families;
        structures.push(json!({
            "id": stored.id.to_string(), "renewed_at": stored.renewed_at_ms, "format": format, "families": hex(&bytes),
        }));
    }
    let snapshots = table.snapshots(0).await.unwrap().into_iter().map(|snapshot| {
        let snapshot = snapshot.unwrap();
        json!({
            "writer": snapshot.writer.to_string(), "seq": snapshot.seq, "updated_at": snapshot.updated_at_ms,
            "sealed_at": snapshot.sealed_at_ms, "closed": snapshot.closed, "format": snapshot.families.format,
            "families": hex(&snapshot.families.bytes),
        })
    });
    let base = table.base(0).await.unwrap().unwrap();
    assert_eq!((base.version, base.parts.len(), structures.len()), (1, 0, 1));
    let fixture = json!({
        "now_ms": now_ms,
        "structures": structures,
        "snapshots": snapshots.collect::<Vec<_>>(),
        "base": {
            "folded": hex(&wire::encode_folded(&base.folded)),
            "format": base.families.format, "families": hex(&base.families.bytes),
        },
        "page": shown(&table).await,
    });
    format!("{}\n", serde_json::to_string_pretty(&fixture).unwrap())
}
