//! A request's JSON, member by member, with all faults at once.

use std::collections::BTreeMap;

use function_kit::problem::Fault;
use lambda_http::http::header::CONTENT_TYPE;
use lambda_http::{Body, Request};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sigil::canonical::{CanonicalError, CanonicalJson, escaped, members};

use crate::error::ApiError;

/// The members of a request's body, which must be a JSON object. Each is taken by its name, and what is wrong is noted;
/// [`finish`](Self::finish) reports it all.
#[derive(Debug)]
pub struct JsonObject<'a> {
    members: BTreeMap<String, &'a RawValue>,
    faults: Vec<Fault>,
}

impl<'a> JsonObject<'a> {
    /// Reads a request's body.
    pub fn read(request: &'a Request) -> Result<Self, ApiError> {
        let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !is_json(media_type) {
            return Err(ApiError::UnsupportedMediaType);
        }
        let text = match request.body() {
            Body::Text(text) => text.as_str(),
            // API Gateway hands over what it does not know to be text in base64, which is undone by now.
            Body::Binary(bytes) => {
                std::str::from_utf8(bytes).map_err(|_| ApiError::Malformed { line: 1, column: 1 })?
            }
            _ => "",
        };
        let mut this = Self { members: BTreeMap::new(), faults: Vec::new() };
        let all = members(text).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => ApiError::Invalid(vec![fault(String::new(), "an object is needed")]),
            _ => ApiError::Malformed { line: error.line(), column: error.column() },
        })?;
        for (name, value) in all {
            let pointer = format!("/{}", escaped(&name));
            if this.members.insert(name, value).is_some() {
                this.refuse(pointer, "the name stands twice in its object");
            }
        }
        Ok(this)
    }

    /// Takes a member that must be there.
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

    /// Takes a member that may be absent; `null` is as good as absent.
    pub fn optional(&mut self, name: &str) -> Option<&'a RawValue> {
        self.take(name).filter(|raw| raw.get() != "null")
    }

    /// Reads a member as canonical JSON.
    pub fn canonical(&mut self, name: &str, raw: &RawValue) -> Option<CanonicalJson> {
        match CanonicalJson::from_raw(raw) {
            Ok(canonical) => Some(canonical),
            Err(CanonicalError::NotIJson(faults)) => {
                for fault in faults {
                    self.refuse(format!("/{name}{}", fault.pointer), fault.reason.to_string());
                }
                None
            }
            Err(CanonicalError::Syntax(position)) => {
                self.refuse(format!("/{name}"), position.to_string());
                None
            }
        }
    }

    /// Reads a member as this type; `expected` says what is allowed.
    pub fn typed<T: DeserializeOwned>(&mut self, name: &str, raw: &RawValue, expected: &str) -> Option<T> {
        let value = serde_json::from_str(raw.get()).ok();
        if value.is_none() {
            self.refuse(format!("/{name}"), expected);
        }
        value
    }

    /// Notes a fault; `field` is a JSON Pointer into the body, or a header's name.
    pub fn refuse(&mut self, field: impl Into<String>, detail: impl Into<String>) {
        self.faults.push(fault(field.into(), detail));
    }

    /// Reports the faults, members that nobody has taken among them: a misspelt one would otherwise have no effect, and no
    /// one would notice. Without faults, hands out what `build` makes of the members.
    ///
    /// # Panics
    ///
    /// If `build` gives `None` although no fault was noted.
    pub fn finish<T>(mut self, build: impl FnOnce() -> Option<T>) -> Result<T, ApiError> {
        for name in std::mem::take(&mut self.members).into_keys() {
            self.refuse(format!("/{}", escaped(&name)), "there is no member of this name");
        }
        if self.faults.is_empty() {
            Ok(build().expect("a member is absent only when a fault was noted"))
        } else {
            Err(ApiError::Invalid(self.faults))
        }
    }
}

fn fault(field: String, detail: impl Into<String>) -> Fault {
    Fault { field, detail: detail.into() }
}

/// Whether this is `application/json` or a type based on it (RFC 6839, section 3.1), whatever its parameters.
fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(media_type: &str, body: &str) -> Request {
        lambda_http::http::Request::builder()
            .header("content-type", media_type)
            .body(Body::Text(body.to_owned()))
            .unwrap()
    }

    fn json(body: &str) -> Request {
        request("application/json; charset=utf-8", body)
    }

    #[test]
    fn all_faults_are_named_at_once() {
        let request = json(r#"{"data":{"a":1e400,"b":[1,{"x":1,"x":2}]},"ttl":5,"ttl_seconds":"5","ttl_seconds":6}"#);
        let mut body = JsonObject::read(&request).unwrap();
        let raw = body.required("data").unwrap();
        body.canonical("data", raw);
        body.required("token");
        let raw = body.optional("ttl_seconds").unwrap();
        assert_eq!(body.typed::<u64>("ttl_seconds", raw, "a number is needed"), Some(6));
        let Err(ApiError::Invalid(faults)) = body.finish(|| Some(())) else { panic!("it has faults") };
        let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["/ttl_seconds", "/data/a", "/data/b/1/x", "/token", "/ttl"]);
    }

    #[test]
    fn what_is_not_json_is_told_apart_from_what_is_not_an_object() {
        assert!(matches!(JsonObject::read(&json("{\"a\":")), Err(ApiError::Malformed { line: 1, column: 5 })));
        assert!(matches!(JsonObject::read(&json("")), Err(ApiError::Malformed { .. })));
        assert!(matches!(JsonObject::read(&json("[]")), Err(ApiError::Invalid(_))));
        assert!(matches!(JsonObject::read(&json("{} {}")), Err(ApiError::Malformed { .. })));
        for media_type in ["", "text/plain", "application/jsonx"] {
            assert!(matches!(JsonObject::read(&request(media_type, "{}")), Err(ApiError::UnsupportedMediaType)));
        }
        assert!(JsonObject::read(&request("application/vnd.order+json", "{}")).is_ok());
    }

    #[test]
    fn null_is_as_good_as_absent_where_a_member_may_be_absent() {
        let request = json(r#"{"metadata":null}"#);
        let mut body = JsonObject::read(&request).unwrap();
        assert!(body.optional("metadata").is_none());
        assert!(body.finish(|| Some(())).is_ok());
    }
}
