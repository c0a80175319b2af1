//! Shows that with `PERSIST=1`, sigils, keys and counts outlive the bundle.

use anyhow::Result;
use harness::kit::bundle::{Bundle, Options};
use serde_json::json;
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_goes_on_where_the_first_ended() -> Result<()> {
    let data = TempDir::new()?;
    let options = Options { data: Some(data.path().to_owned()), ..Options::for_test("persistence") };

    let first = Bundle::start(&options).await?;
    let sigil = first.client().encode(&json!({ "kept": true })).await?;
    drop(first);

    let second = Bundle::start(&options).await?;
    let client = second.client();
    assert_eq!(client.get(&sigil.id).await?.expect(200)?.body["data"], json!({ "kept": true }));
    assert_eq!(client.verdict(&sigil.token, None).await?, "valid");
    assert_eq!(client.metrics().await?.sum("sigil_encode_total", &[]), 1.0);
    Ok(())
}
