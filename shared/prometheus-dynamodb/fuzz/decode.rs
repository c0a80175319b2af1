//! Reads any bytes as an item's, uncompressed and compressed, and does with them everything that is done with an item.

#![no_main]

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use libfuzzer_sys::fuzz_target;
use prometheus_dynamodb::internals::exposition::Format;
use prometheus_dynamodb::internals::item::{Encoded, StructureId};
use prometheus_dynamodb::internals::page::Page;
use prometheus_dynamodb::internals::wire::{self, NamedStructure};

fuzz_target!(|data: &[u8]| {
    let _ = wire::decode_folded(data);
    // The input is also read as a structure and values of it: the first byte gives the length of the structure.
    if let Some((split, rest)) = data.split_first()
        && let Some((structure, values)) = rest.split_at_checked(usize::from(*split))
    {
        let id = StructureId::of(structure);
        let stored = Encoded { format: wire::FORMAT_STRUCTURED, bytes: deflated(structure) };
        if let Ok(structure) = NamedStructure::decode(id, &stored) {
            let bytes = [id.as_bytes().as_slice(), values].concat();
            let _ = wire::decode_with(&Encoded { format: wire::FORMAT_STRUCTURED, bytes }, &structure);
        }
    }
    for bytes in [data.to_vec(), deflated(data)] {
        let Ok(families) = wire::decode(&Encoded { format: wire::FORMAT, bytes }) else { continue };
        if let Ok(again) = wire::encode(&families, 0) {
            assert_eq!(format!("{:?}", wire::decode(&again).unwrap()), format!("{families:?}"));
        }
        let page = Page::new(families, &[]);
        for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
            format.render(&page);
        }
    }
});

fn deflated(data: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}
