//! Finds files of this repository.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Returns the workspace's root folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is a folder of the workspace")
}

/// Returns the path of a tool that `scripts/fetch-tools` has put into `.tools/`.
pub fn tool(path: &str) -> Result<PathBuf> {
    let tool = root().join(".tools").join(path);
    tool.canonicalize().with_context(|| format!("{} is missing: run scripts/fetch-tools", tool.display()))
}

/// Returns the path of a tool in `.tools/` or, if it is missing there, the name under which the PATH may have it.
pub fn tool_or_path(path: &str, name: &str) -> PathBuf {
    tool(path).unwrap_or_else(|_| PathBuf::from(name))
}

/// Returns a path in the folder that holds what local runs leave behind: logs, and the data with `PERSIST=1`.
pub fn local(path: &str) -> PathBuf {
    root().join(".local").join(path)
}
