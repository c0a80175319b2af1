//! Shows that with `PERSIST=1`, sigils, keys and counts outlive the bundle.

use std::time::Duration;

use anyhow::Result;
use harness::kit::bundle::{Bundle, Options};
use harness::kit::wait::{self, not_yet};
use serde_json::json;
use tempfile::TempDir;

/// Time to wait for a publish.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_goes_on_where_the_first_ended() -> Result<()> {
    let data = TempDir::new()?;
    let options = Options { data: Some(data.path().to_owned()), ..Options::for_test("persistence") };

    let first = Bundle::start(&options).await?;
    let sigil = first.client().encode(&json!({ "kept": true })).await?;
    wait::until("the page shows the sigil", PATIENCE, async || match first.client().metrics().await? {
        page if page.sum("sigil_encode_total", &[]) == 1.0 => Ok(()),
        page => not_yet(format!("{page:?}")),
    })
    .await?;
    drop(first);

    let second = Bundle::start(&options).await?;
    let client = second.client();
    assert_eq!(client.get(&sigil.id).await?.expect(200)?.body["data"], json!({ "kept": true }));
    assert_eq!(client.verdict(&sigil.token, None).await?, "valid");
    assert_eq!(client.metrics().await?.sum("sigil_encode_total", &[]), 1.0);
    Ok(())
}
