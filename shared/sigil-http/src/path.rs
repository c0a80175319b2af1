//! Where the routes are.

/// The collection of sigils. One sigil is at its id below it.
pub const SIGILS: &str = "/api/consciousness/sigils";

/// What stands after [`SIGILS`] in a request's path: nothing, or a `/` and more. `None` if the path is another one. What
/// stands before it does not matter: API Gateway puts the stage there.
pub fn below_sigils(path: &str) -> Option<&str> {
    let (_, rest) = path.split_once(SIGILS)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}
