//! The paths of the routes.

/// Path of the collection of sigils. Each sigil is below it, at its id.
pub const SIGILS: &str = "/api/consciousness/sigils";

/// Returns what follows [`SIGILS`] in a request's path: nothing, or a `/` and more. `None` if the path is another one.
/// What precedes it does not matter, for API Gateway puts the stage there.
pub fn below_sigils(path: &str) -> Option<&str> {
    let (_, rest) = path.split_once(SIGILS)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}
