//! Shows that anyone can check a token offline, with a library that knows nothing of this project.

use std::fs::File;
use std::process::{Command, Output};

use anyhow::Result;
use harness::kit::bundle::{Bundle, Options};
use harness::kit::workspace;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_verifies_against_the_published_keys() -> Result<()> {
    let bundle = Bundle::start(&Options::for_test("jose")).await?;
    let client = bundle.client();
    let sigil = client.encode(&json!({ "to": "be checked" })).await?;
    let keys = client.jwks().await?.expect(200)?;
    assert!(keys.body.pointer("/keys/0/d").is_none(), "a private key is published");
    assert!(keys.header("cache-control").is_some_and(|value| value.contains("max-age")), "{:?}", keys.headers);

    let url = format!("{}/.well-known/jwks.json", client.url());
    let output = jose(&url, &sigil.token)?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let verified: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(verified["header"]["alg"], "EdDSA", "{verified}");
    assert_eq!(verified["header"]["kid"], keys.body["keys"][0]["kid"], "{verified}");

    let forged = with_another_signature(&sigil.token);
    let output = jose(&url, &forged)?;
    assert!(!output.status.success(), "a forged token was accepted");
    assert!(String::from_utf8_lossy(&output.stderr).contains("signature verification failed"));
    Ok(())
}

/// Runs the script in the folder where the library is installed: Node resolves the imports of a script on its standard input
/// against the current folder.
fn jose(keys: &str, token: &str) -> Result<Output> {
    let output = Command::new("node")
        .current_dir(workspace::tool("npm")?)
        .args(["--input-type=module", "-", keys, token])
        .stdin(File::open(workspace::root().join("tests/jose/verify.mjs"))?)
        .output()?;
    Ok(output)
}

/// Changes the first character of the signature. The last character would not do, since some of its bits mean nothing.
fn with_another_signature(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').expect("a token has three parts");
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{signed}.{first}{}", &signature[1..])
}
