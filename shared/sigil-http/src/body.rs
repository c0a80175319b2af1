//! Reads a request's JSON, one member at a time, and reports all faults at once.

use std::borrow::Cow;
use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::fmt;

use function_runtime::http::HttpRequest;
use function_runtime::http::request::NoText;
use function_runtime::problem::Faults;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use sigil::canonical::{CanonicalError, CanonicalJson, push_token};
use sigil::store::MAX_RECORD_BYTES;

use crate::error::{ApiError, canonical_faults};

/// Length of the longest body that is read, in bytes. The data must fit into a record in canonical form, and escaping
/// all characters beyond ASCII makes a text at most three times as long: `\u00e9` has six bytes and stands for two. A
/// body that is longer, because of escaped ASCII characters or white space, is refused even if its canonical form would
/// fit.
pub const MAX_BODY_BYTES: usize = 3 * MAX_RECORD_BYTES;

/// Returns the text of a request's body, whose `Content-Type` must be JSON.
pub fn text(request: &HttpRequest) -> Result<Cow<'_, str>, ApiError> {
    if !is_json(request.header("content-type").unwrap_or_default()) {
        return Err(ApiError::UnsupportedMediaType);
    }
    request.text(MAX_BODY_BYTES).map_err(|error| match error {
        NoText::TooLong { limit } => ApiError::TooLarge { limit },
        NoText::NotBase64 | NoText::NotUtf8 => ApiError::NoText(error),
    })
}

/// Members of a request's body, which must be a JSON object. Take each member by its name. Faults are collected, and
/// [`finish`](Self::finish) reports them all.
#[derive(Debug, Default)]
pub struct JsonObject<'a> {
    members: BTreeMap<&'static str, &'a RawValue>,
    faults: Faults,
    unknown: Faults,
    /// A member that no record could hold.
    too_large: Option<&'static str>,
}

impl<'a> JsonObject<'a> {
    /// Parses a request's body, whose members may only have these names. Others are refused: a misspelled member would
    /// have no effect, and nobody would notice.
    pub fn read(text: &'a str, names: &'static [&'static str]) -> Result<Self, ApiError> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let this = deserializer.deserialize_map(Members(names)).and_then(|this| deserializer.end().map(|()| this));
        this.map_err(|error| match error.classify() {
            serde_json::error::Category::Data => {
                let mut faults = Faults::default();
                faults.push(String::new(), "an object is needed");
                ApiError::Invalid(faults)
            }
            _ => ApiError::Malformed { line: error.line(), column: error.column() },
        })
    }

    /// Takes a member that is required.
    pub fn required(&mut self, name: &str) -> Option<&'a RawValue> {
        let member = self.take(name);
        if member.is_none() {
            self.refuse(format!("/{name}"), "it is missing");
        }
        member
    }

    /// Takes a member that may be absent.
    pub fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        self.members.remove(name)
    }

    /// Takes a member that may be absent or `null`.
    pub fn optional(&mut self, name: &str) -> Option<&'a RawValue> {
        self.take(name).filter(|raw| raw.get() != "null")
    }

    /// Parses a member as canonical JSON.
    pub fn canonical(&mut self, name: &'static str, raw: &RawValue) -> Option<CanonicalJson> {
        match CanonicalJson::from_raw(raw) {
            Ok(canonical) => return Some(canonical),
            Err(CanonicalError::TooLong) => self.too_large = Some(name),
            Err(error) => self.faults.append(canonical_faults(name, error)),
        }
        None
    }

    /// Parses a member as a `T`. `expected` says what is allowed, for the fault.
    pub fn typed<T: DeserializeOwned>(&mut self, name: &str, raw: &RawValue, expected: &str) -> Option<T> {
        let value = serde_json::from_str(raw.get()).ok();
        if value.is_none() {
            self.refuse(format!("/{name}"), expected);
        }
        value
    }

    /// Records a fault. `field` is a JSON Pointer into the body, or the name of a header.
    pub fn refuse(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        self.faults.push(field.into(), detail);
    }

    /// Returns the value that `build` makes of the members, or all faults, or else that a member is too large.
    ///
    /// # Panics
    ///
    /// If `build` returns `None` although no fault was recorded and no member is too large.
    pub fn finish<T>(mut self, build: impl FnOnce() -> Option<T>) -> Result<T, ApiError> {
        self.faults.append(self.unknown);
        if !self.faults.is_empty() {
            return Err(ApiError::Invalid(self.faults));
        }
        match self.too_large {
            Some(name) => Err(ApiError::MemberTooLarge(name)),
            None => Ok(build().expect("a member is absent only when a fault was noted")),
        }
    }
}

/// Visits an object: keeps the members that have these names and records all others as faults. None of those is kept,
/// however many there are.
struct Members(&'static [&'static str]);

impl<'de> Visitor<'de> for Members {
    type Value = JsonObject<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut object = JsonObject::default();
        let unknown = LazyCell::new(|| format!("there is no member of this name; allowed are {}", self.0.join(", ")));
        while let Some((name, value)) = access.next_entry::<String, &RawValue>()? {
            match self.0.iter().find(|known| **known == name) {
                None => {
                    let mut pointer = String::new();
                    push_token(&mut pointer, &name);
                    object.unknown.push(pointer, unknown.as_str());
                }
                Some(known) => {
                    if object.members.insert(known, value).is_some() {
                        object.refuse(format!("/{known}"), "the name occurs twice in its object");
                    }
                }
            }
        }
        Ok(object)
    }
}

/// Returns whether the media type is `application/json` or based on it (RFC 6839, section 3.1), whatever its
/// parameters.
fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["data", "token", "ttl_seconds", "metadata"];

    fn fields(result: Result<(), ApiError>) -> Vec<String> {
        let Err(ApiError::Invalid(faults)) = result else { panic!("it has faults") };
        faults.named().iter().map(|fault| fault.field.clone()).collect()
    }

    #[test]
    fn all_faults_are_named_at_once() {
        let text = r#"{"data":{"a":1e400,"b":[1,{"x":1,"x":2}]},"t/l":5,"ttl_seconds":"5","ttl_seconds":6}"#;
        let mut body = JsonObject::read(text, NAMES).unwrap();
        let raw = body.required("data").unwrap();
        body.canonical("data", raw);
        body.required("token");
        let raw = body.optional("ttl_seconds").unwrap();
        assert_eq!(body.typed::<u64>("ttl_seconds", raw, "a number is needed"), Some(6));
        let fields = fields(body.finish(|| Some(())));
        assert_eq!(fields, ["/ttl_seconds", "/data/a", "/data/b/1/x", "/token", "/t~1l"]);
    }

    #[test]
    fn many_faults_are_counted() {
        let text = format!("{{{}\"data\":1,\"data\":2}}", "\"x\":0,".repeat(1000));
        let body = JsonObject::read(&text, NAMES).unwrap();
        let Err(ApiError::Invalid(faults)) = body.finish(|| Some(())) else { panic!("it has faults") };
        assert_eq!(faults.named()[0].field, "/data", "what matters first");
        assert_eq!(faults.named().len() + faults.more(), 1001);
        let allowed = format!("there is no member of this name; allowed are {}", NAMES.join(", "));
        assert_eq!((faults.named()[1].field.as_str(), &faults.named()[1].detail), ("/x", &allowed));
    }

    #[test]
    fn what_is_not_json_is_told_apart_from_what_is_not_an_object() {
        let read = |text| JsonObject::read(text, NAMES);
        assert!(matches!(read("{\"a\":"), Err(ApiError::Malformed { line: 1, column: 5 })));
        assert!(matches!(read(""), Err(ApiError::Malformed { .. })));
        assert!(matches!(read("[]"), Err(ApiError::Invalid(_))));
        assert!(matches!(read("{} {}"), Err(ApiError::Malformed { .. })));
    }

    #[test]
    fn only_json_is_read() {
        for media_type in ["", "text/plain", "application/jsonx"] {
            assert!(!is_json(media_type), "{media_type}");
        }
        assert!(is_json("application/json; charset=utf-8") && is_json("application/vnd.order+json"));
    }

    #[test]
    fn null_is_as_good_as_absent_where_a_member_may_be_absent() {
        let mut body = JsonObject::read(r#"{"metadata":null}"#, NAMES).unwrap();
        assert!(body.optional("metadata").is_none());
        assert!(body.finish(|| Some(())).is_ok());
    }
}
