//! Encodes and decodes the bytes of an item: families as protocol buffers, compressed with DEFLATE (RFC 1951).
//!
//! DynamoDB charges for writes by the kilobyte, so the encoding is compact: label names and bucket bounds occur once
//! per family, and bucket counts are small integers. In the notation of protocol buffers:
//!
//! ```proto
//! message Families { repeated Family family = 1; }
//! message Family {
//!   string name = 1;
//!   string help = 2;
//!   Kind kind = 3;                     // COUNTER = 0, GAUGE = 1, HISTOGRAM = 2
//!   GaugeMerge gauge_merge = 4;        // LIVE_SUM = 0, LIVE_MAX = 1, LIVE_MIN = 2, MOST_RECENT = 3, MAX = 4, MIN = 5
//!   repeated string label_name = 5;    // ascending
//!   repeated double bound = 6;         // histograms only: the buckets' upper bounds, finite and ascending, without +Inf
//!   uint64 born_at_ms = 7;             // birth of the writer, in milliseconds since the epoch; in a base, of the youngest
//!   repeated Series series = 8;
//!   uint64 created_at_ms = 9;          // time since which the oldest of the series counts; absent if it is born_at_ms;
//!                                      // in a base, LIVE_MAX and LIVE_MIN have no series: since when there was one
//! }
//! message Series {
//!   repeated string label_value = 1;   // in the order of label_name
//!   repeated double value = 2;         // counters, LIVE_SUM and a histogram's sum: numbers that add up to it exactly;
//!                                      // other gauges: one number
//!   repeated uint64 bucket_count = 3;  // histograms only: per bucket, not cumulated; one more than there are bounds
//!   uint64 at_ms = 4;                  // MOST_RECENT only: time of the publish
//!   uint64 created_at_ms = 5;          // time since which the series counts; absent if it is the family's created_at_ms
//! }
//! ```
//!
//! This is format 1. In format 2 a snapshot names a *structure*, which has families as in format 1, but without times,
//! and whose series have only `label_value`. The structure's id is the first 16 bytes of the SHA-256 of its message
//! before compression. The bytes of the snapshot are:
//!
//! 1. the structure's id;
//! 2. the values, in the [structure's order](crate::families::structure::Structure);
//! 3. if there are any, the families that the structure does not have, and further series of those that it has, in
//!    format 1.
//!
//! Values begin with the time at which the writer was born, in milliseconds since the epoch, as a varint. (Varints are
//! those of protocol buffers.) The times since which series count, and those at which MOST_RECENT gauges were
//! published, are relative to it, modulo 2^64. The remaining bytes go through the slots in order. Each step begins with
//! a varint *t*:
//!
//! | *t* | slots | content of the slots |
//! |---|---|---|
//! | odd | 1 | the whole number (*t* - 1) / 2; in a slot for a sum or number, at most 2^53 |
//! | divisible by 4 | *t* / 4 + 1 | 0 in each |
//! | 2 more than a multiple of 4, in a slot for a sum or number | 1 | the sum of the next (*t* - 2) / 4 + 1 doubles, 8 bytes each, little-endian; a slot for a number has exactly one |
//! | 2, in a slot for a whole number | 1 | the whole number in the next 8 bytes, little-endian; for 2^63 and more |
//!
//! A writer in another language need not write format 2, but every reader must know both formats.
//!
//! The list of a base's folded writers is not compressed, because random ids cannot be:
//!
//! ```proto
//! message Folded { repeated FoldedWriter writer = 1; }
//! message FoldedWriter {
//!   bytes id = 1;                      // 16 bytes
//!   optional uint64 buried_at_ms = 2;  // time at which its snapshot was found gone, in milliseconds since the epoch
//! }
//! ```

mod structure;
mod values;

pub use structure::{FORMAT_STRUCTURED, NamedStructure, Structured, decode_structured, decode_with, structure_of};

use std::collections::BTreeMap;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::families::exact_sum::ExactSum;
use crate::families::rules::{FamilyFault, check_names, is_part_of_sum, normal};
use crate::families::{Bounds, Families, Family, FamilyKey, GaugeMerge, Kind, Series, Value};
use crate::table::item::{Encoded, Folded, MAX_ENCODED_BYTES, Part, PartId, WriterId};

/// Version of this encoding, stored beside the bytes as the attribute `format`.
pub const FORMAT: u64 = 1;

/// Largest size before compression that is written and read, in bytes. It bounds the memory that a damaged or hostile
/// item can make a scrape use: what is decoded from it can take some eighty times as much.
const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// Reason why bytes cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Another version of this crate wrote them.
    #[error("the format {found} is unknown")]
    Format {
        /// Format of the bytes.
        found: u64,
    },
    /// The bytes are not DEFLATE data.
    #[error("the compressed data cannot be read")]
    Compression(#[source] std::io::Error),
    /// The bytes expand to more than is allowed.
    #[error("the data expand to more than {MAX_MESSAGE_BYTES} bytes")]
    TooLarge,
    /// The bytes are not the expected protocol buffers message.
    #[error("the message cannot be read")]
    Message(#[source] prost::DecodeError),
    /// The values are not those of the structure that they name.
    #[error("the values do not fit their structure")]
    Values,
    /// The structure does not have the id by which it is named.
    #[error("the structure does not match its id")]
    StructureId,
    /// A family or a series occurs twice in the structure.
    #[error("a family or series occurs twice in the structure")]
    DuplicateInStructure,
    /// A family contradicts itself.
    #[error("family {family:?}: {fault}")]
    Family {
        /// The family's name.
        family: String,
        /// Rule that the family breaks.
        fault: FamilyFault,
    },
}

/// Error returned when content does not fit into an item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooLarge {
    /// It is too large as it would be stored.
    #[error("it has {bytes} bytes, and {MAX_ENCODED_BYTES} is the limit")]
    Encoded {
        /// Its size.
        bytes: usize,
    },
    /// It is too large before compression, so that no reader would decode it.
    #[error("it has {bytes} bytes before compression, and {MAX_MESSAGE_BYTES} is the limit")]
    Message {
        /// Its size.
        bytes: usize,
    },
}

/// Encodes families if they leave `spare` bytes of an item free and [`decode`] will accept them: families that compress
/// very well can fit into an item and yet be too large to be read.
pub fn encode(families: &Families, spare: usize) -> Result<Encoded, TooLarge> {
    Ok(Encoded { format: FORMAT, bytes: encode_families(families, spare)? })
}

/// Returns whether [`encode`] can encode these families and leave `spare` bytes free.
pub(crate) fn fits(families: &Families, spare: usize) -> bool {
    is_small(message_of(families).encoded_len() + spare) || encode_families(families, spare).is_ok()
}

/// Returns whether an item has room for a message of this size however badly it compresses: compressed data are hardly ever
/// longer than the original, and never by more than a hundredth and 100 bytes.
fn is_small(message_bytes: usize) -> bool {
    message_bytes + message_bytes / 100 + 100 <= MAX_ENCODED_BYTES
}

/// Returns whether an item has room for this series alone, whatever its numbers become, and whatever help text another
/// environment gives it. A series that has not could grow in a base until nothing can be added to that base any more.
pub(crate) fn always_fits(key: &FamilyKey, help: &str, label_values: &[String]) -> bool {
    /// Size of a text's or number's tag, and of a text's length.
    const FRAME: usize = 6;
    /// Size of the longest exact sum: its parts do not overlap, so 40 of them cover all exponents that an `f64` has.
    const SUM: usize = 40 * 8;
    /// Size of a bound, which is an `f64`, and of the longest count of a bucket, a varint of 64 bits.
    const BUCKET: usize = 8 + 10;
    /// Size of the longest help text. In a base, a series can get the help text of a younger environment.
    const HELP: usize = 8 * 1024;
    let buckets = match &key.kind {
        Kind::Histogram(bounds) => bounds.as_slice().len() + 1,
        Kind::Counter | Kind::Gauge(_) => 0,
    };
    let labels: usize = key.label_names.iter().chain(label_values).map(|text| text.len() + FRAME).sum();
    // Besides these, a message has fewer than 20 numbers and nested messages, each at most as long as a bucket.
    help.len() <= HELP && is_small(key.name.len() + HELP + labels + SUM + BUCKET * (buckets + 20))
}

fn message_of(families: &Families) -> FamiliesMessage {
    FamiliesMessage { family: families.iter().map(|(key, family)| to_message(key, family)).collect() }
}

fn encode_families(families: &Families, spare: usize) -> Result<Vec<u8>, TooLarge> {
    let message = message_of(families).encode_to_vec();
    // Compressing takes longest by far, and a large base is halved until its pieces fit.
    if message.len() + spare > MAX_MESSAGE_BYTES {
        return Err(TooLarge::Message { bytes: message.len() });
    }
    let bytes = deflated(&message);
    if bytes.len() + spare > MAX_ENCODED_BYTES {
        return Err(TooLarge::Encoded { bytes: bytes.len() });
    }
    Ok(bytes)
}

fn deflated(message: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(message).and_then(|()| encoder.finish());
    written.expect("writing into memory does not fail")
}

/// Decodes families that [`encode`] has encoded, and checks everything that merging and rendering rely on.
pub fn decode(encoded: &Encoded) -> Result<Families, DecodeError> {
    if encoded.format != FORMAT {
        return Err(DecodeError::Format { found: encoded.format });
    }
    decode_families(&encoded.bytes)
}

fn inflated(bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut message = Vec::new();
    DeflateDecoder::new(bytes)
        .take(MAX_MESSAGE_BYTES as u64 + 1)
        .read_to_end(&mut message)
        .map_err(DecodeError::Compression)?;
    if message.len() > MAX_MESSAGE_BYTES {
        return Err(DecodeError::TooLarge);
    }
    Ok(message)
}

fn decode_families(bytes: &[u8]) -> Result<Families, DecodeError> {
    let message = FamiliesMessage::decode(inflated(bytes)?.as_slice()).map_err(DecodeError::Message)?;
    let mut families = Families::new();
    for family in message.family {
        let name = family.name.clone();
        let refuse = |fault| DecodeError::Family { family: name.clone(), fault };
        let (key, family) = from_message(family).map_err(refuse)?;
        if families.insert(key, family).is_some() {
            return Err(refuse(FamilyFault::Duplicate));
        }
    }
    // Earlier versions wrote empty labels.
    Ok(normal(families))
}

/// Encodes the list of folded writers.
pub fn encode_folded(folded: &Folded) -> Vec<u8> {
    let writer = folded
        .iter()
        .map(|(id, buried_at_ms)| FoldedWriterMessage { id: id.as_bytes().to_vec(), buried_at_ms: *buried_at_ms });
    FoldedMessage { writer: writer.collect() }.encode_to_vec()
}

/// Decodes a list that [`encode_folded`] has encoded, or returns `None` if it is damaged.
pub fn decode_folded(bytes: &[u8]) -> Option<Folded> {
    let message = FoldedMessage::decode(bytes).ok()?;
    let entry =
        |writer: FoldedWriterMessage| Some((WriterId::from_bytes(writer.id.try_into().ok()?), writer.buried_at_ms));
    message.writer.into_iter().map(entry).collect()
}

impl Part {
    /// Returns the part's id, which follows from its content: parts with the same id are the same.
    pub fn id(&self) -> PartId {
        let mut hash = Sha256::new();
        for number in [self.version, self.families.format, self.families.bytes.len() as u64] {
            hash.update(number.to_be_bytes());
        }
        hash.update(&self.families.bytes);
        hash.update(encode_folded(&self.folded));
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize()[..16]);
        PartId::from_bytes(id)
    }
}

#[derive(Clone, PartialEq, Message)]
struct FoldedMessage {
    #[prost(message, repeated, tag = "1")]
    writer: Vec<FoldedWriterMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct FoldedWriterMessage {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(uint64, optional, tag = "2")]
    buried_at_ms: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct FamiliesMessage {
    #[prost(message, repeated, tag = "1")]
    family: Vec<FamilyMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct FamilyMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(uint32, tag = "3")]
    kind: u32,
    #[prost(uint32, tag = "4")]
    gauge_merge: u32,
    #[prost(string, repeated, tag = "5")]
    label_name: Vec<String>,
    #[prost(double, repeated, tag = "6")]
    bound: Vec<f64>,
    #[prost(uint64, tag = "7")]
    born_at_ms: u64,
    #[prost(message, repeated, tag = "8")]
    series: Vec<SeriesMessage>,
    #[prost(uint64, optional, tag = "9")]
    created_at_ms: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct SeriesMessage {
    #[prost(string, repeated, tag = "1")]
    label_value: Vec<String>,
    #[prost(double, repeated, tag = "2")]
    value: Vec<f64>,
    #[prost(uint64, repeated, tag = "3")]
    bucket_count: Vec<u64>,
    #[prost(uint64, tag = "4")]
    at_ms: u64,
    #[prost(uint64, optional, tag = "5")]
    created_at_ms: Option<u64>,
}

/// All ways in which gauges merge. The position of each is the number that is stored.
const GAUGE_MERGES: [GaugeMerge; 6] = [
    GaugeMerge::LiveSum,
    GaugeMerge::LiveMax,
    GaugeMerge::LiveMin,
    GaugeMerge::MostRecent,
    GaugeMerge::Max,
    GaugeMerge::Min,
];

/// Returns a message with the members that follow from a family's key.
fn kind_message(key: &FamilyKey) -> FamilyMessage {
    let (kind, gauge_merge, bound) = match &key.kind {
        Kind::Counter => (0, 0, Vec::new()),
        Kind::Gauge(merge) => {
            let number = GAUGE_MERGES.iter().position(|known| known == merge).expect("the table has every merge");
            (1, number as u32, Vec::new())
        }
        Kind::Histogram(bounds) => (2, 0, bounds.as_slice().to_vec()),
    };
    FamilyMessage {
        name: key.name.clone(),
        kind,
        gauge_merge,
        label_name: key.label_names.clone(),
        bound,
        ..FamilyMessage::default()
    }
}

fn to_message(key: &FamilyKey, family: &Family) -> FamilyMessage {
    let (born_at_ms, oldest_ms) = (family.born_at_ms, family.since_ms());
    let series = family.series.iter().map(|(label_values, Series { created_at_ms, value })| {
        let (value, bucket_count, at_ms) = match value {
            Value::Sum(sum) => (sum.parts(), Vec::new(), 0),
            Value::Extreme(value) => (vec![*value], Vec::new(), 0),
            Value::Latest { at_ms, value } => (vec![*value], Vec::new(), *at_ms),
            Value::Histogram { counts, sum } => (sum.parts(), counts.clone(), 0),
        };
        let created_at_ms = (*created_at_ms != oldest_ms).then_some(*created_at_ms);
        SeriesMessage { label_value: label_values.clone(), value, bucket_count, at_ms, created_at_ms }
    });
    FamilyMessage {
        help: family.help.clone(),
        born_at_ms,
        series: series.collect(),
        created_at_ms: (oldest_ms != born_at_ms || family.ended_since_ms.is_some()).then_some(oldest_ms),
        ..kind_message(key)
    }
}

fn family_key(message: &FamilyMessage) -> Result<FamilyKey, FamilyFault> {
    let kind = match message.kind {
        0 => Kind::Counter,
        1 => Kind::Gauge(*GAUGE_MERGES.get(message.gauge_merge as usize).ok_or(FamilyFault::Kind)?),
        2 => Kind::Histogram(Bounds::new(message.bound.clone()).ok_or(FamilyFault::Bounds)?),
        _ => return Err(FamilyFault::Kind),
    };
    let key = FamilyKey { name: message.name.clone(), kind, label_names: message.label_name.clone() };
    check_names(&key)?;
    Ok(key)
}

fn from_message(message: FamilyMessage) -> Result<(FamilyKey, Family), FamilyFault> {
    let key = family_key(&message)?;
    let born_at_ms = message.born_at_ms;
    let oldest_ms = message.created_at_ms.unwrap_or(born_at_ms);
    let mut series = BTreeMap::new();
    for message_series in message.series {
        if message_series.label_value.len() != key.label_names.len() {
            return Err(FamilyFault::LabelValues);
        }
        let value = value_from(&key.kind, message_series.value, message_series.bucket_count, message_series.at_ms)?;
        let created_at_ms = message_series.created_at_ms.unwrap_or(oldest_ms);
        if series.insert(message_series.label_value, Series { created_at_ms, value }).is_some() {
            return Err(FamilyFault::Duplicate);
        }
    }
    let ended_since_ms = message.created_at_ms.filter(|_| series.is_empty());
    Ok((key, Family { help: message.help, born_at_ms, series, ended_since_ms, live: false }))
}

fn value_from(kind: &Kind, numbers: Vec<f64>, counts: Vec<u64>, at_ms: u64) -> Result<Value, FamilyFault> {
    match kind {
        Kind::Counter => Ok(Value::Sum(summable(numbers))),
        Kind::Gauge(GaugeMerge::LiveSum) => Ok(Value::Sum(ExactSum::of(numbers))),
        Kind::Gauge(merge) => match (&numbers[..], merge) {
            (&[value], GaugeMerge::MostRecent) => Ok(Value::Latest { at_ms, value }),
            (&[value], _) => Ok(Value::Extreme(value)),
            _ => Err(FamilyFault::GaugeValue),
        },
        Kind::Histogram(bounds) if counts.len() == bounds.as_slice().len() + 1 => {
            Ok(Value::Histogram { counts, sum: summable(numbers) })
        }
        Kind::Histogram(_) => Err(FamilyFault::BucketCounts),
    }
}

/// Returns the sum of those numbers that can be part of a sum. Earlier versions wrote others, too, which must not spoil the
/// rest.
fn summable(numbers: Vec<f64>) -> ExactSum {
    ExactSum::of(numbers.into_iter().filter(|number| is_part_of_sum(*number)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::merge::retire;
    use crate::testing::{families, one};
    use proptest::prelude::*;

    /// Returns a histogram with random bounds and the longest numbers, and a label value of this length that does not compress.
    fn largest(buckets: usize, label_length: usize) -> Families {
        let mut random = fastrand::Rng::with_seed(1);
        let mut bounds: Vec<f64> = (0..buckets).map(|_| random.f64() + random.f64().powi(9)).collect();
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        let counts = (0..=bounds.len()).map(|_| random.u64(1 << 63..)).collect();
        // Numbers of all sizes, none of which another one absorbs.
        let sum = ExactSum::of((0..1990).map(|exponent| 2f64.powi(exponent - 994) * (1.0 + random.f64())));
        let key = FamilyKey {
            name: "largest".into(),
            kind: Kind::Histogram(Bounds::new(bounds).unwrap()),
            label_names: vec!["label".into()],
        };
        let label_value = std::iter::repeat_with(|| random.char('\u{80}'..='\u{7ff}')).take(label_length / 2).collect();
        let series = Series { created_at_ms: u64::MAX, value: Value::Histogram { counts, sum } };
        let series = std::iter::once((vec![label_value], series)).collect();
        Families::from([(key, Family { help: "Largest.".into(), born_at_ms: u64::MAX, series, ..Family::default() })])
    }

    /// Returns whether the first series always fits.
    fn always_fits_first(families: &Families) -> bool {
        let (key, family) = families.first_key_value().unwrap();
        let (label_values, _) = family.series.first_key_value().unwrap();
        always_fits(key, &family.help, label_values)
    }

    #[test]
    fn a_sum_of_several_environments_is_read_though_each_has_as_much_as_it_may() {
        let sum = ExactSum::of([9e299; 100]);
        let families = one("bytes_total", Kind::Counter, Value::Sum(sum));
        assert_eq!(decode(&encode(&families, 0).unwrap()).unwrap(), families);
        let (structure, _) = NamedStructure::of(&families).unwrap();
        let structured = structure.encode(&families).unwrap();
        assert_eq!(decode_with(&structured.encoded, &structure).unwrap(), families);
    }

    #[test]
    fn what_leaves_room_for_growth_can_be_read_once_it_has_grown() {
        // Compresses very well, so only the size before compression bounds it.
        let families = one("bytes_total", Kind::Counter, Value::Sum(ExactSum::default()));
        let (key, family) = families.into_iter().next().unwrap();
        let of_size =
            |size: usize| Families::from([(key.clone(), Family { help: "h".repeat(size), ..family.clone() })]);
        let growth = 1000;
        assert!(fits(&of_size(MAX_MESSAGE_BYTES - 2 * growth), growth));
        assert!(!fits(&of_size(MAX_MESSAGE_BYTES - growth), growth));
    }

    #[test]
    fn what_always_fits_does_with_the_longest_numbers() {
        for sizes in [(0, 1), (1, 0), (3, 1)] {
            let of_size = |size: usize| largest(size * sizes.0 / 20, size * sizes.1);
            let (mut fits, mut too_large) = (0, MAX_ENCODED_BYTES);
            while fits + 1 < too_large {
                let middle = fits + (too_large - fits) / 2;
                if always_fits_first(&of_size(middle)) { fits = middle } else { too_large = middle }
            }
            assert!(fits > MAX_ENCODED_BYTES / 8, "{sizes:?}: {fits}");
            encode(&of_size(fits), 0).unwrap();
        }
    }

    #[test]
    fn a_series_that_fits_with_its_own_help_text_fits_with_any_that_is_allowed() {
        let mut length = 0;
        while always_fits_first(&largest(0, length + 1000)) {
            length += 1000;
        }
        let (key, mut family) = largest(0, length).pop_first().unwrap();
        let mut random = fastrand::Rng::with_seed(2);
        family.help = std::iter::repeat_with(|| random.char('\u{80}'..='\u{7ff}')).take(4 * 1024).collect();
        let families = Families::from([(key, family)]);
        assert!(always_fits_first(&families), "a help text of 8 KB is allowed");
        encode(&families, 0).unwrap();
        let (key, mut family) = largest(0, 1).pop_first().unwrap();
        family.help = "h".repeat(8 * 1024 + 1);
        assert!(!always_fits_first(&Families::from([(key, family)])));
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(families in families()) {
            prop_assert_eq!(decode(&encode(&families, 0).unwrap()).unwrap(), families);
        }

        #[test]
        fn what_remains_of_ended_environments_is_decoded(families in families()) {
            let remains = retire(families);
            prop_assert_eq!(decode(&encode(&remains, 0).unwrap()).unwrap(), remains);
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_folded(&bytes);
            let _ = decode(&Encoded { format: FORMAT, bytes });
        }

        #[test]
        fn any_message_is_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&bytes).unwrap();
            let _ = decode(&Encoded { format: FORMAT, bytes: encoder.finish().unwrap() });
        }
    }

    #[test]
    fn the_list_of_the_folded_is_20_to_30_bytes_a_writer() {
        let folded: Folded =
            (0..1000).map(|i| (WriterId::random(), (i % 2 == 0).then_some(1_763_913_600_123))).collect();
        let bytes = encode_folded(&folded);
        assert_eq!(decode_folded(&bytes).unwrap(), folded);
        assert!((20_000..30_000).contains(&bytes.len()), "{}", bytes.len());
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        let megabyte = vec![0u8; 1 << 20];
        for _ in 0..9 {
            encoder.write_all(&megabyte).unwrap();
        }
        let bomb = Encoded { format: FORMAT, bytes: encoder.finish().unwrap() };
        assert!(matches!(decode(&bomb), Err(DecodeError::TooLarge)));
    }

    #[test]
    fn a_family_that_contradicts_itself_is_refused() {
        let refused = |change: fn(&mut FamilyMessage)| {
            let mut family = FamilyMessage {
                name: "requests".into(),
                kind: 2,
                label_name: vec!["code".into(), "method".into()],
                bound: vec![0.1, 1.0],
                series: vec![SeriesMessage {
                    label_value: vec!["200".into(), "GET".into()],
                    bucket_count: vec![1, 2, 3],
                    ..Default::default()
                }],
                ..Default::default()
            };
            assert!(from_message(family.clone()).is_ok());
            change(&mut family);
            from_message(family).unwrap_err()
        };
        assert_eq!(refused(|f| f.name = "requests total".into()), FamilyFault::MetricName);
        assert_eq!(refused(|f| f.label_name.reverse()), FamilyFault::LabelNames);
        assert_eq!(refused(|f| f.label_name[1] = "le".into()), FamilyFault::LabelNames);
        assert_eq!(refused(|f| f.series[0].label_value.truncate(1)), FamilyFault::LabelValues);
        assert_eq!(refused(|f| f.kind = 3), FamilyFault::Kind);
        assert_eq!(refused(|f| (f.kind, f.gauge_merge) = (1, 6)), FamilyFault::Kind);
        assert_eq!(refused(|f| (f.kind, f.gauge_merge) = (1, 4)), FamilyFault::GaugeValue);
        assert_eq!(refused(|f| f.bound.reverse()), FamilyFault::Bounds);
        assert_eq!(refused(|f| f.series[0].bucket_count = vec![1, 2]), FamilyFault::BucketCounts);
        assert_eq!(refused(|f| f.series.push(f.series[0].clone())), FamilyFault::Duplicate);
    }
}
