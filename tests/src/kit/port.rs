//! Finds and checks ports of this machine.

use std::fs::DirEntry;
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, bail};

/// Returns a port on which nothing listens.
///
/// Another process may take the port before the caller does. The range is wide and the time short, and a clash fails
/// loudly.
pub fn free() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?.local_addr()?.port())
}

/// Returns an error if something listens on `port`. The error names the variable that chooses another port.
pub fn ensure_free(port: u16, variable: &str) -> Result<()> {
    // If anything listens on a single address, Linux refuses the first bind; macOS allows it and refuses the second.
    if [Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST].iter().all(|address| TcpListener::bind((*address, port)).is_ok()) {
        return Ok(());
    }
    let by = listener(port).map(|process| format!(" by {process}")).unwrap_or_default();
    bail!("{variable} {port} is taken{by}: choose another with {variable}=…")
}

/// Returns the command and id of the process that listens on `port`, if the system tells.
fn listener(port: u16) -> Option<String> {
    let socket = ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| listening_socket(table, port))?;
    let is_process = |entry: &DirEntry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok());
    let holder = std::fs::read_dir("/proc").ok()?.filter_map(Result::ok).filter(is_process).find(|process| {
        let Ok(files) = std::fs::read_dir(process.path().join("fd")) else { return false };
        files.filter_map(Result::ok).any(|file| std::fs::read_link(file.path()).is_ok_and(|target| target == socket))
    })?;
    let command = std::fs::read_to_string(holder.path().join("comm")).ok()?;
    Some(format!("{} (process {})", command.trim(), holder.file_name().display()))
}

/// Returns the link by which a listening socket appears among its owner's open files.
fn listening_socket(table: &str, port: u16) -> Option<std::path::PathBuf> {
    const LISTENING: &str = "0A";
    let table = std::fs::read_to_string(table).ok()?;
    let inode = table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let local_port = fields.get(1)?.rsplit_once(':')?.1;
        let matches = u16::from_str_radix(local_port, 16) == Ok(port) && *fields.get(3)? == LISTENING;
        matches.then(|| fields.get(9).copied()).flatten()
    })?;
    Some(format!("socket:[{inode}]").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_variable() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let message = ensure_free(port, "PORT").unwrap_err().to_string();
        assert!(message.starts_with(&format!("PORT {port} is taken")), "{message}");
        assert!(message.ends_with("choose another with PORT=…"), "{message}");
        if cfg!(target_os = "linux") {
            assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
        }
    }

    #[test]
    fn a_port_is_free_again_after_its_listener() {
        let port = free().unwrap();
        assert!(ensure_free(port, "PORT").is_ok());
    }
}
