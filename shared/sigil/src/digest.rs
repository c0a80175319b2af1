//! Digests of canonical JSON.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

use crate::canonical::CanonicalJson;

/// A SHA-256 digest (FIPS 180-4). Its text is base64url without padding (RFC 4648, section 5), as in JOSE.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Returns the digest of a document.
    pub fn of(document: &CanonicalJson) -> Self {
        Self::of_parts(&[document.as_str().as_bytes()])
    }

    /// Returns the digest of the concatenated parts.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        parts.iter().for_each(|part| hasher.update(part));
        Self(hasher.finalize().into())
    }

    /// Parses exactly what [`Display`](fmt::Display) writes: each digest has one text.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the first 64 bits as 32 letters of two bits each: A for 00, C for 01, G for 10, T for 11. They let
    /// people compare digests by eye, and prove nothing.
    pub fn dna(&self) -> String {
        let letters = |byte: &u8| [byte >> 6, byte >> 4, byte >> 2, *byte].map(|bits| b"ACGT"[usize::from(bits & 3)]);
        self.0[..8].iter().flat_map(letters).map(char::from).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("a SHA-256 digest in base64url is needed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_an_empty_object_is_the_published_one() {
        // `printf '{}' | sha256sum` begins 44136fa355b3678a.
        let digest = Digest::of(&CanonicalJson::from_json(" { } ").unwrap());
        assert_eq!(digest.to_string(), "RBNvo1WzZ4oRRq0W9-hknpT7T8If536DEMBg9hyq_4o");
        // 44 = 01 00 01 00, 13 = 00 01 00 11, 6f = 01 10 11 11, a3 = 10 10 00 11, …
        assert_eq!(digest.dna(), "CACAACATCGTTGGATCCCCGTATCGCTGAGG");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
    }

    #[test]
    fn one_digest_has_one_text() {
        // The last letter has two unused bits. If they could be set, the same bytes would have a second text.
        assert_eq!(Digest::parse("RBNvo1WzZ4oRRq0W9-hknpT7T8If536DEMBg9hyq_4p"), None);
        assert_eq!(Digest::parse("RBNvo1WzZ4oRRq0W9-hknpT7T8If536DEMBg9hyq_4o="), None);
    }
}
