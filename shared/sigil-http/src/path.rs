//! Holds the paths of the routes.

/// Path of the collection of sigils. Each sigil is below it, at its id.
pub const SIGILS: &str = "/api/consciousness/sigils";

/// Returns the part of a request's path that follows [`SIGILS`]: nothing, or a `/` and more. Returns `None` for any
/// other path. Anything may precede [`SIGILS`], since API Gateway puts the stage there.
pub fn below_sigils(path: &str) -> Option<&str> {
    let (_, rest) = path.split_once(SIGILS)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_may_precede_the_path_and_only_a_segment_may_follow() {
        for (path, below) in [
            ("/api/consciousness/sigils", Some("")),
            ("/api/consciousness/sigils/", Some("/")),
            ("/prod/api/consciousness/sigils/verify", Some("/verify")),
            ("/api/consciousness/sigilsx", None),
            ("/api/consciousness", None),
            ("", None),
        ] {
            assert_eq!(below_sigils(path), below, "{path}");
        }
    }
}
