//! Reads any bytes as an item's, as they are and compressed, and does with them all that is done with an item.

#![no_main]

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use libfuzzer_sys::fuzz_target;
use prometheus_dynamodb::exposition::Format;
use prometheus_dynamodb::item::Encoded;
use prometheus_dynamodb::page::Page;
use prometheus_dynamodb::wire;

fuzz_target!(|data: &[u8]| {
    let _ = wire::decode_folded(data);
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    for bytes in [data.to_vec(), encoder.finish().unwrap()] {
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
