//! Decides who may scrape: everyone who shows an accepted token.

use subtle::{Choice, ConstantTimeEq};

use crate::settings::faults::Faults;

const TOKEN: &str = "METRICS_TOKEN";
const PREVIOUS: &str = "METRICS_TOKEN_PREVIOUS";

/// The tokens that are accepted; without any, everyone may scrape.
pub(super) struct Access {
    tokens: Vec<String>,
}

impl Access {
    /// Reads `METRICS_TOKEN` and, for the time of a rotation, `METRICS_TOKEN_PREVIOUS`.
    pub(super) fn read(find: &impl Fn(&str) -> Option<String>, faults: &mut Faults) -> Self {
        let current = faults.secret(find, TOKEN, parse);
        let previous = faults.secret(find, PREVIOUS, parse);
        if find(TOKEN).is_none() && find(PREVIOUS).is_some() {
            faults.add(
                PREVIOUS,
                format!("is set without {TOKEN}; set {TOKEN} too, or unset both to serve the page to everyone"),
            );
        }
        Self { tokens: current.into_iter().chain(previous).collect() }
    }

    /// Returns `true` if everyone may scrape.
    pub(super) fn is_open(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Returns whether this `Authorization` header lets its sender scrape. The header is compared with every token and in
    /// constant time, so that the time taken tells nothing about the tokens but their lengths.
    pub(super) fn allows(&self, authorization: Option<&str>) -> bool {
        if self.is_open() {
            return true;
        }
        // The scheme's name may be in any case (RFC 9110, section 11.1).
        let bearer = authorization
            .and_then(|header| header.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"));
        let Some((_, given)) = bearer else { return false };
        let equals = |token: &String| token.as_bytes().ct_eq(given.trim().as_bytes());
        self.tokens.iter().map(equals).fold(Choice::from(0), |any, equal| any | equal).into()
    }
}

/// Reads a token as RFC 6750, section 2.1 allows it: anything else could not be sent in the header.
fn parse(text: &str) -> Result<String, &'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    if text.chars().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("only the characters A-Z a-z 0-9 - . _ ~ + / = are allowed (RFC 6750)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Access, String> {
        let find =
            |wanted: &str| variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned());
        let mut faults = Faults::default();
        let access = Access::read(&find, &mut faults);
        faults.finish(access).map_err(|error| error.to_string())
    }

    #[test]
    fn either_token_of_a_rotation_is_let_in_and_no_other() {
        let access = read(&[(TOKEN, "the-new-token"), (PREVIOUS, "the-old-token")]).unwrap();
        for allowed in ["Bearer the-new-token", "bearer  the-old-token"] {
            assert!(access.allows(Some(allowed)), "{allowed}");
        }
        for refused in ["Bearer the-new-toke", "Bearer the-new-tokens", "Basic the-new-token", "Bearer ", "Bearer", ""]
        {
            assert!(!access.allows(Some(refused)), "{refused}");
        }
        assert!(!access.allows(None));
        let open = read(&[]).unwrap();
        assert!(open.is_open() && open.allows(None) && !access.is_open());
    }

    #[test]
    fn a_token_that_could_not_be_sent_is_refused_and_not_repeated() {
        let told = read(&[(TOKEN, "not allowed")]).err().unwrap();
        assert!(told.contains("METRICS_TOKEN is set but wrong") && !told.contains("not allowed"), "{told}");
        assert!(read(&[(TOKEN, "")]).err().unwrap().contains("METRICS_TOKEN is set but empty"));
        assert!(read(&[(PREVIOUS, "the-old-token")]).err().unwrap().contains("set METRICS_TOKEN too"));
    }
}
