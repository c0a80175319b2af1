//! Derives keys from seeds. A seed is any long random text.
//!
//! A service that generates secrets can generate a text, but not a key pair. So the pair is derived from the text, and
//! the same text always gives the same pair: HKDF-SHA-256 (RFC 5869) gives the private part, and the key's name is the
//! key's thumbprint (RFC 7638).

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::{Jwk, KeyFault};

/// Length of the shortest seed, in characters. A random letter or digit has almost 6 bits, and a key has 128 bits of
/// strength.
pub(super) const MIN_SEED_CHARACTERS: usize = 32;

/// Length of the longest seed, in characters.
pub(super) const MAX_SEED_CHARACTERS: usize = 256;

/// Purpose of the derivation (HKDF's `info`). If it changed, all derived keys would change.
const PURPOSE: &[u8] = b"sigil signing key Ed25519 1";

/// Returns the key that is derived from a seed, with both of its parts.
pub(super) fn key(seed: &str) -> Result<Jwk, KeyFault> {
    let length = MIN_SEED_CHARACTERS..=MAX_SEED_CHARACTERS;
    if !length.contains(&seed.len()) || !seed.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(KeyFault::Seed);
    }
    let mut private = [0; 32];
    Salt::new(HKDF_SHA256, &[])
        .extract(seed.as_bytes())
        .expand(&[PURPOSE], HKDF_SHA256)
        .and_then(|key| key.fill(&mut private))
        .expect("32 bytes are what HKDF-SHA-256 gives at once");
    let pair = Ed25519KeyPair::from_seed_unchecked(&private).expect("any 32 bytes are a private part");
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    Ok(Jwk {
        kty: "OKP".to_owned(),
        crv: "Ed25519".to_owned(),
        kid: thumbprint(&x),
        x,
        d: Some(URL_SAFE_NO_PAD.encode(private)),
    })
}

/// Returns the thumbprint of a public key (RFC 7638). RFC 8037, appendix A.3, defines the members and their order.
fn thumbprint(x: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_the_rfc() {
        assert_eq!(
            thumbprint("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn a_seed_gives_the_same_key_for_ever_and_another_one_another() {
        let seed = "0123456789abcdefghijklmnopqrstuv";
        let same = key(seed).unwrap();
        assert_eq!(key(seed).unwrap().d, same.d);
        assert_eq!(same.kid, "kf_ib2T3vK6hiYFhWQ6Pwvt5sB83z1t7uULKcCJwSME");
        assert_ne!(key("1123456789abcdefghijklmnopqrstuv").unwrap().kid, same.kid);
    }

    #[test]
    fn a_seed_that_could_be_guessed_is_refused() {
        for refused in ["", "0123456789abcdefghijklmnopqrstu", "0123456789 abcdefghijklmnopqrstuv", &"a".repeat(257)] {
            assert!(matches!(key(refused), Err(KeyFault::Seed)), "{refused}");
        }
    }
}
