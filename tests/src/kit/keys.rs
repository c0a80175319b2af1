//! Keeps signing keys that outlive the bundle, for `PERSIST=1`.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Returns the keys in `file`, which is created with new keys if it is missing. So tokens stay valid as long as the
/// data is kept.
pub fn load_or_generate(file: &Path) -> Result<String> {
    if file.exists() {
        return std::fs::read_to_string(file).with_context(|| file.display().to_string());
    }
    let keys = sigil::keys::generate("local");
    let mut created = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .with_context(|| file.display().to_string())?;
    created.write_all(keys.as_bytes())?;
    Ok(keys)
}
