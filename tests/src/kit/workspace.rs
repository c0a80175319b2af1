//! Where things are in this repository.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The workspace's root folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is a folder of the workspace")
}

/// A tool that `scripts/fetch-tools` has put into `.tools/`.
pub fn tool(path: &str) -> Result<PathBuf> {
    let tool = root().join(".tools").join(path);
    tool.canonicalize().with_context(|| format!("{} is missing: run scripts/fetch-tools", tool.display()))
}

/// A tool from `.tools/` or, failing that, whatever the PATH has under that name.
pub fn tool_or_path(path: &str, name: &str) -> PathBuf {
    tool(path).unwrap_or_else(|_| PathBuf::from(name))
}

/// A path in the folder of what runs on this desk leave behind: logs, and with `PERSIST=1` the data.
pub fn local(path: &str) -> PathBuf {
    root().join(".local").join(path)
}
