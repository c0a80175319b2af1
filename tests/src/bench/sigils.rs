//! The part `sigils`: measures canonicalizing, hashing, signing and verifying, beside the libraries' own primitives.

use anyhow::{Context, Result, ensure};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::Digest as _;
use sigil::canonical::CanonicalJson;
use sigil::digest::Digest;
use sigil::keys::{self, SigningKeys};
use sigil::record::SigilId;
use sigil::token::{self, Claims};

use super::measurement::{subject, take_turns};
use super::report::{Report, Table};

/// Sizes of the data, in kilobytes.
const KILOBYTES: [usize; 2] = [1, 100];

/// Measures the part, on a separate thread.
pub(super) async fn run() -> Result<Report> {
    tokio::task::spawn_blocking(measure).await?.map(Report::from)
}

fn measure() -> Result<Table> {
    let mut table = Table::new(
        "Canonicalise, hash, sign, verify",
        [("this project", "µs"), ("the primitive", "µs"), ("project / primitive", "×")],
    );
    let mut compare = |name: String, ours: &mut dyn FnMut(), theirs: &mut dyn FnMut()| {
        let microseconds = take_turns(&mut [ours, theirs]);
        let (ours, theirs) = (microseconds[0] / 1e3, microseconds[1] / 1e3);
        table.row(name, [ours, theirs, ours / theirs]);
    };
    for kilobytes in KILOBYTES {
        let text = document(kilobytes * 1000);
        compare(
            format!("canonicalise {kilobytes} KB; `serde_json`, from text to text"),
            &mut subject(|| CanonicalJson::from_json(&text)),
            &mut subject(|| serde_json::from_str::<Value>(&text).map(|value| value.to_string())),
        );
        let canonical = CanonicalJson::from_json(&text)?;
        compare(
            format!("hash {kilobytes} KB; `sha2`"),
            &mut subject(|| Digest::of(&canonical)),
            &mut subject(|| sha2::Sha256::digest(canonical.as_str())),
        );
    }

    let jwks = keys::generate("bench");
    let keys = SigningKeys::parse(&jwks)?;
    let key: Value = serde_json::from_str(&jwks)?;
    let seed = URL_SAFE_NO_PAD.decode(key["keys"][0]["d"].as_str().context("a generated key has its private part")?)?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok().context("a generated key is one")?;
    let claims = Claims {
        id: SigilId::random(),
        created_at: 1_763_913_600,
        expires_at: 1_795_449_600,
        digest: Digest::of(&CanonicalJson::from_json("{}")?),
        metadata_digest: None,
        request_digest: None,
        request_nonce: None,
    };
    let signed = token::sign(&claims, &keys);
    let (message, _) = signed.rsplit_once('.').context("a token has three parts")?;
    let signature = pair.sign(message.as_bytes());
    let public = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref());
    ensure!(token::read(&signed, keys.verifying()) == Ok(claims.clone()), "a token that was signed is read");
    compare(
        "sign a token, whatever the data's size; `aws-lc-rs`, Ed25519".to_owned(),
        &mut subject(|| token::sign(&claims, &keys)),
        &mut subject(|| pair.sign(message.as_bytes())),
    );
    compare(
        "verify a token, whatever the data's size; `aws-lc-rs`, Ed25519".to_owned(),
        &mut subject(|| token::read(&signed, keys.verifying())),
        &mut subject(|| public.verify(message.as_bytes(), signature.as_ref())),
    );
    table.note(
        "Canonicalising refuses what is not I-JSON (duplicate names, numbers that would change, halves of surrogate pairs), each with \
         its path, sorts names by UTF-16 and writes numbers as ECMAScript does; `serde_json` does none of these. A token is a \
         JWT: JSON and base64 around the same signature.",
    );
    Ok(table)
}

/// Returns an order as JSON, with as many items as fill `bytes` bytes.
pub(super) fn document(bytes: usize) -> String {
    let mut items = Vec::new();
    let mut length = 0;
    while length < bytes {
        let number = items.len();
        let item = serde_json::json!({
            "sku": format!("A-{number:06}"),
            "name": "Kaffee, gemahlen, 500 g — Röstung 3",
            "quantity": number % 7 + 1,
            "price": (number % 900) as f64 / 100.0,
            "taxed": number % 2 == 0,
            "notes": null,
        });
        length += item.to_string().len() + 1;
        items.push(item);
    }
    serde_json::json!({ "order": 17, "items": items }).to_string()
}
