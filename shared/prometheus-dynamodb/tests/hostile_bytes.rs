//! Checks that reading an item of the stats table ends, whatever bytes the item holds: with an error, or with families
//! that can be shown.
//!
//! Well-formed items and the bytes in `tests/hostile_bytes/` are damaged at random: bits are flipped, parts cut out,
//! doubled, moved and replaced, before and after compression. `HOSTILE_BYTES_ROUNDS` sets the number of rounds.
//! `make fuzz` does the same, guided by coverage.

mod support;

use std::io::Write;
use std::path::Path;

use fastrand::Rng;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use lambda_runtime::LambdaInvocation;
use prometheus::{Gauge, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};
use prometheus_dynamodb::internals::exposition::Format;
use prometheus_dynamodb::internals::families::Families;
use prometheus_dynamodb::internals::item::{Encoded, StructureId, WriterId};
use prometheus_dynamodb::internals::page::Page;
use prometheus_dynamodb::internals::table::ReadStats;
use prometheus_dynamodb::internals::wire::{self, NamedStructure};
use prometheus_dynamodb::{GaugeMerge, MemoryStatsTable, Publisher, Sources, WriterSettings};
use support::invocation;

/// Well-formed bytes to be damaged: messages, which are compressed after the damage, and items, which are read as they
/// are.
struct Corpus {
    messages: Vec<Vec<u8>>,
    items: Vec<Vec<u8>>,
    /// A structure. `structured` holds values of it.
    structure: NamedStructure,
    structured: Vec<Vec<u8>>,
}

#[tokio::test]
async fn reading_damaged_bytes_ends_well() {
    let rounds: usize = match std::env::var("HOSTILE_BYTES_ROUNDS") {
        Err(_) => 40_000,
        Ok(rounds) => rounds.parse().expect("HOSTILE_BYTES_ROUNDS is a number"),
    };
    let corpus = corpus().await;
    let mut random = Rng::with_seed(1);
    let mut readable = 0;
    for _ in 0..rounds {
        let message = damaged(&corpus.messages, &mut random);
        readable += usize::from(read(deflated(&message)));
        let item = damaged(&corpus.items, &mut random);
        readable += usize::from(read(item.clone()));
        readable += usize::from(read_structure(&message));
        readable += usize::from(read_structured(&corpus, damaged(&corpus.structured, &mut random)));
        let _ = wire::decode_folded(&item);
        let _ = wire::decode_folded(&message);
    }
    // If all damage were refused at the first check, the code behind that check would not be tested.
    assert!(readable > rounds / 100, "only {readable} of {rounds} could be read");
}

/// Reads the bytes and does with them everything that is done with an item. Returns whether they could be read.
fn read(bytes: Vec<u8>) -> bool {
    let encoded = Encoded { format: wire::FORMAT, bytes };
    let Ok(families) = wire::decode(&encoded) else { return false };
    let again =
        wire::decode(&wire::encode(&families, 0).expect("what was read fits")).expect("what was written can be read");
    assert_eq!(format!("{again:?}"), format!("{families:?}"));
    let page = Page::new(families, &[]);
    for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
        format.render(&page);
    }
    true
}

/// Reads the message as a structure. Returns whether it could be read.
fn read_structure(message: &[u8]) -> bool {
    let encoded = Encoded { format: wire::FORMAT_STRUCTURED, bytes: deflated(message) };
    let id = StructureId::of(message);
    let Ok(structure) = NamedStructure::decode(id, &encoded) else { return false };
    // Whatever the structure is, any bytes may be read as its values.
    let bytes = [id.as_bytes().as_slice(), message].concat();
    let _ = wire::decode_with(&Encoded { format: wire::FORMAT_STRUCTURED, bytes }, &structure);
    true
}

/// Reads the bytes as a snapshot that names the structure of the corpus. Returns whether they could be read.
fn read_structured(corpus: &Corpus, bytes: Vec<u8>) -> bool {
    let bytes = [corpus.structure.id().as_bytes().as_slice(), &bytes].concat();
    let encoded = Encoded { format: wire::FORMAT_STRUCTURED, bytes };
    let Ok(families) = wire::decode_with(&encoded, &corpus.structure) else { return false };
    // Families are written as they were read, unless they cannot be summed or have empty labels.
    if let Some(again) = corpus.structure.encode(&families) {
        let again = wire::decode_with(&again.encoded, &corpus.structure).expect("what was written can be read");
        assert_eq!(format!("{again:?}"), format!("{families:?}"));
    }
    read(wire::encode(&families, 0).expect("what was read fits").bytes)
}

async fn corpus() -> Corpus {
    let table = MemoryStatsTable::default();
    let registry = Registry::new();
    let counter = IntCounterVec::new(Opts::new("a_total", "A."), &["code", "method"]).unwrap();
    let histogram = HistogramVec::new(HistogramOpts::new("seconds", "S.").buckets(vec![0.1, 1.0]), &["op"]).unwrap();
    let gauge = Gauge::new("last", "L.").unwrap();
    registry.register(Box::new(counter.clone())).unwrap();
    registry.register(Box::new(histogram.clone())).unwrap();
    registry.register(Box::new(gauge.clone())).unwrap();
    counter.with_label_values(&["200", "GET"]).inc_by(3);
    histogram.with_label_values(&["put"]).observe(0.3);
    gauge.set(-1.5);
    let settings = WriterSettings::builder("stats", "encode", "1")
        .pace(std::time::Duration::ZERO, 1)
        .format(wire::FORMAT)
        .build()
        .unwrap();
    let sources = Sources::new(registry).gauge("last", GaugeMerge::MostRecent);
    let publisher = Publisher::new(table.clone(), sources, settings, std::time::Instant::now()).unwrap();
    let handler = tower::service_fn(|_: LambdaInvocation| async { Ok::<_, ()>(()) });
    let mut service = tower::Layer::layer(&publisher.layer(), handler);
    tower::Service::call(&mut service, invocation(0)).await.unwrap();
    let item = table.snapshots(0).await.unwrap().remove(0).unwrap().families.bytes;

    let folded = [(WriterId::random(), None), (WriterId::random(), Some(u64::MAX))].into();
    let mut items = vec![item.clone(), wire::encode(&Families::new(), 0).unwrap().bytes, wire::encode_folded(&folded)];
    let mut messages = Vec::new();
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile_bytes");
    for file in std::fs::read_dir(kept).unwrap() {
        let file = file.unwrap().path();
        let compressed = file.extension().is_some_and(|extension| extension == "deflate");
        let kept = if compressed { &mut items } else { &mut messages };
        kept.push(std::fs::read(file).unwrap());
    }
    let mut message = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::DeflateDecoder::new(item.as_slice()), &mut message).unwrap();
    messages.push(message);
    let families = wire::decode(&Encoded { format: wire::FORMAT, bytes: item }).unwrap();
    let (structure, stored) = NamedStructure::of(&families).unwrap();
    let id = structure.id().as_bytes().len();
    let structured = vec![structure.encode(&families).unwrap().encoded.bytes.split_off(id)];
    let mut message = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::DeflateDecoder::new(stored.bytes.as_slice()), &mut message).unwrap();
    messages.push(message);
    Corpus { messages, items, structure, structured }
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Returns one of these, damaged in a few places.
fn damaged(corpus: &[Vec<u8>], random: &mut Rng) -> Vec<u8> {
    let mut below = |limit: usize| random.usize(..limit.max(1));
    let mut bytes = corpus[below(corpus.len())].clone();
    for _ in 0..=below(4) {
        let (at, length) = (below(bytes.len()), below(16));
        let end = (at + length).min(bytes.len());
        match below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << below(8),
            1 if !bytes.is_empty() => bytes[at] = below(256) as u8,
            2 => drop(bytes.drain(at..end)),
            3 => {
                let part = bytes[at..end].to_vec();
                let to = below(bytes.len() + 1);
                bytes.splice(to..to, part);
            }
            4 => bytes.truncate(at),
            // This makes numbers and lengths as large as they can be.
            5 => drop(bytes.splice(at..at, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01])),
            6 if bytes.len() >= at + 8 => bytes[at..at + 8].copy_from_slice(&f64::NAN.to_le_bytes()),
            _ => {}
        }
    }
    bytes
}
