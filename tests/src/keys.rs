//! Signing keys for the desk.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A JWK Set with one new Ed25519 key, in one line: what `SIGNING_KEYS` holds.
pub fn generate(kid: &str) -> Result<String> {
    let pair = Ed25519KeyPair::generate().map_err(|_| anyhow!("no key could be generated"))?;
    let seed = pair.seed().map_err(|_| anyhow!("the key keeps its seed"))?;
    let private = seed.as_be_bytes().map_err(|_| anyhow!("the seed has no encoding"))?;
    let key = serde_json::json!({
        "kty": "OKP",
        "crv": "Ed25519",
        "alg": "EdDSA",
        "use": "sig",
        "kid": kid,
        "x": URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()),
        "d": URL_SAFE_NO_PAD.encode(private.as_ref()),
    });
    Ok(serde_json::json!({ "keys": [key] }).to_string())
}

/// The keys in `file`, which is written with new ones when it is missing: tokens stay valid as long as the data is kept.
pub fn load_or_generate(file: &Path) -> Result<String> {
    if file.exists() {
        return std::fs::read_to_string(file).with_context(|| file.display().to_string());
    }
    let keys = generate("local")?;
    let mut created = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .with_context(|| file.display().to_string())?;
    created.write_all(keys.as_bytes())?;
    Ok(keys)
}
