//! Parses the headers `Accept` and `Accept-Encoding`: lists of alternatives with parameters and qualities (RFC 9110,
//! section 12.4).

/// One alternative of a list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Alternative<'a> {
    /// The media range or the coding.
    pub value: &'a str,
    /// Preference for the alternative, from 0 (not at all) to 1.
    pub quality: f32,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Alternative<'a> {
    /// Returns a parameter's value.
    pub(super) fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

/// Returns the alternatives of a header's value, those with the highest quality first, and in the header's order among
/// equals. An alternative whose quality cannot be read is left out.
pub(super) fn alternatives(header: &str) -> Vec<Alternative<'_>> {
    let mut alternatives: Vec<_> = header.split(',').filter_map(alternative).collect();
    alternatives.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    alternatives
}

fn alternative(text: &str) -> Option<Alternative<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let value = parts.next().filter(|value| !value.is_empty())?;
    let mut parameters: Vec<(&str, &str)> = parts
        .filter_map(|part| part.split_once('='))
        .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
        .collect();
    let quality = match parameters.iter().position(|(name, _)| name.eq_ignore_ascii_case("q")) {
        None => 1.0,
        Some(at) => parameters.remove(at).1.parse().ok().filter(|quality| (0.0..=1.0).contains(quality))?,
    };
    Some(Alternative { value, quality, parameters })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_liked_best_comes_first() {
        let all = alternatives("a/a;q=0.5, b/b;version=\"1\" ;Q=0.9,c/c,, d/d;q=2, e/e ; q=x,f/f");
        let found: Vec<_> = all.iter().map(|one| (one.value, one.quality)).collect();
        assert_eq!(found, [("c/c", 1.0), ("f/f", 1.0), ("b/b", 0.9), ("a/a", 0.5)]);
        assert_eq!(all[2].parameter("VERSION"), Some("1"));
    }
}
