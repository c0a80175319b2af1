//! Turns an event into a request. No content of an event makes this code panic, and an event that is not a request in
//! payload format 2.0 gives an error that can be answered. See
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

/// Size limit for everything in an event except the request's body, in bytes. API Gateway allows 10 KB for headers and
/// path, and the authorizer's claims come from those.
const MAX_ENVELOPE_BYTES: usize = 256 * 1024;

/// A request, reduced to the parts that the functions use.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    method: String,
    path: String,
    query: String,
    headers: BTreeMap<String, String>,
    source_ip: Option<IpAddr>,
    caller: Caller,
    body: String,
    is_base64: bool,
}

/// Sender of a request, as the authorizer in front of the function has identified it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Caller {
    /// No sender is known: there is no authorizer, or its result is in a form that this code does not know.
    #[default]
    Anonymous,
    /// The IAM identity that signed the request.
    Iam {
        /// The ARN of a user, or of a session of a role.
        arn: String,
        /// The identity in a Cognito identity pool, if the request was signed through one: all users of a pool share
        /// the ARN.
        cognito_identity: Option<String>,
    },
    /// The subject of a JWT.
    Jwt {
        /// The claim `iss`; empty if the token has none.
        issuer: String,
        /// The claim `sub`, if the token has one.
        subject: Option<String>,
    },
}

/// Error of an event that is not a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; events of an API Gateway HTTP API in payload format 2.0, or of a function URL, are needed")]
pub struct UnsupportedEvent {
    reason: &'static str,
}

/// Error of a request's body that is not text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoText {
    /// The body is longer than allowed.
    #[error("it is longer than {limit} bytes")]
    TooLong {
        /// Length that is allowed, in bytes.
        limit: usize,
    },
    /// The event says that the body is base64, but it is not.
    #[error("it is not valid base64, although isBase64Encoded is true")]
    NotBase64,
    /// The body is not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow)]
    raw_path: Option<&'a RawValue>,
    #[serde(borrow)]
    raw_query_string: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    request_context: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    is_base64_encoded: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    http: Http,
    authorizer: Option<Authorizer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Http {
    method: String,
    path: Option<String>,
    source_ip: Option<String>,
}

/// The result of the authorizer. At most one field is present.
#[derive(Deserialize)]
struct Authorizer {
    iam: Option<Iam>,
    jwt: Option<Jwt>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Iam {
    user_arn: Option<String>,
    cognito_identity: Option<CognitoIdentity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CognitoIdentity {
    identity_id: Option<String>,
}

#[derive(Deserialize)]
struct Jwt {
    claims: Option<BTreeMap<String, Value>>,
}

impl HttpRequest {
    /// Parses an event.
    pub fn read(event: &RawValue) -> Result<Self, UnsupportedEvent> {
        let refuse = |reason| UnsupportedEvent { reason };
        let length = event.get().len();
        let event: Event<'_> = serde_json::from_str(event.get())
            .map_err(|_| refuse("the event is not an object, or has a member twice"))?;
        if length - event.body.map_or(0, |body| body.get().len()) > MAX_ENVELOPE_BYTES {
            return Err(refuse("the event has more than 256 KB besides the request's body"));
        }
        let context: RequestContext =
            member(event.request_context).ok_or(refuse("the event's requestContext is not that of an HTTP request"))?;
        let path: Option<String> = optional(event.raw_path).ok_or(refuse("the event's rawPath is not a text"))?;
        let headers: Option<BTreeMap<String, String>> =
            optional(event.headers).ok_or(refuse("the event's headers are not texts"))?;
        let mut this = Self {
            method: context.http.method,
            path: path.or(context.http.path).unwrap_or_default(),
            query: optional(event.raw_query_string)
                .ok_or(refuse("the event's rawQueryString is not a text"))?
                .unwrap_or_default(),
            headers: BTreeMap::new(),
            source_ip: context.http.source_ip.and_then(|address| address.parse().ok()),
            caller: context.authorizer.map(Caller::of).unwrap_or_default(),
            is_base64: optional(event.is_base64_encoded)
                .ok_or(refuse("the event's isBase64Encoded is neither true nor false"))?
                .unwrap_or(false),
            body: String::new(),
        };
        for (name, value) in headers.unwrap_or_default() {
            this.add_header(&name, &value);
        }
        // The body comes last because it can be long.
        let body: Option<String> = optional(event.body).ok_or(refuse("the event's body is not a text"))?;
        this.body = body.unwrap_or_default();
        Ok(this)
    }

    /// Returns the method, as the client sent it.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Returns the path, after the name of the stage if API Gateway puts that there.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the query string without its question mark, as the client sent it.
    pub fn query(&self) -> &str {
        &self.query
    }

    /// Returns the header of this name, which must be in lower case. If the client sent several, they are joined to a
    /// list (RFC 9110, section 5.3).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Returns the client's address, as API Gateway or the function URL saw it. It never comes from a header, which a
    /// client could set.
    pub fn source_ip(&self) -> Option<IpAddr> {
        self.source_ip
    }

    /// Returns the sender of the request.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Returns the body as text. Refuses a body of more than `limit` bytes. API Gateway encodes a body in base64 if it
    /// does not know the body to be text.
    pub fn text(&self, limit: usize) -> Result<Cow<'_, str>, NoText> {
        // The length is checked before decoding: four letters are three bytes, and padding stands for none.
        let bytes = if self.is_base64 {
            let letters = self.body.strip_suffix("==").or(self.body.strip_suffix('=')).unwrap_or(&self.body);
            letters.len() * 3 / 4
        } else {
            self.body.len()
        };
        if bytes > limit {
            return Err(NoText::TooLong { limit });
        }
        if !self.is_base64 {
            return Ok(Cow::Borrowed(&self.body));
        }
        let bytes = STANDARD.decode(&self.body).map_err(|_| NoText::NotBase64)?;
        String::from_utf8(bytes).map(Cow::Owned).map_err(|_| NoText::NotUtf8)
    }

    fn add_header(&mut self, name: &str, value: &str) {
        let values = self.headers.entry(name.to_ascii_lowercase()).or_default();
        if !values.is_empty() {
            values.push(',');
        }
        values.push_str(value);
    }
}

impl Caller {
    fn of(authorizer: Authorizer) -> Self {
        let claims = authorizer.jwt.and_then(|jwt| jwt.claims);
        match (authorizer.iam, claims) {
            (Some(Iam { user_arn: Some(arn), cognito_identity }), _) => {
                Self::Iam { arn, cognito_identity: cognito_identity.and_then(|identity| identity.identity_id) }
            }
            (_, Some(claims)) => {
                let claim = |name| claims.get(name).and_then(Value::as_str).map(str::to_owned);
                Self::Jwt {
                    issuer: claim("iss").unwrap_or_default(),
                    subject: claim("sub").filter(|subject| !subject.is_empty()),
                }
            }
            (_, None) => Self::Anonymous,
        }
    }
}

/// Reads a member that is required.
fn member<T: DeserializeOwned>(raw: Option<&RawValue>) -> Option<T> {
    serde_json::from_str(raw?.get()).ok()
}

/// Reads a member that may be absent or null.
fn optional<T: DeserializeOwned>(raw: Option<&RawValue>) -> Option<Option<T>> {
    raw.map_or(Some(None), |raw| serde_json::from_str(raw.get()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(event: &Value) -> Result<HttpRequest, UnsupportedEvent> {
        HttpRequest::read(&serde_json::value::to_raw_value(event).unwrap())
    }

    fn event(change: impl FnOnce(&mut Value)) -> Value {
        let mut event = json!({
            "version": "2.0", "rawPath": "/a", "rawQueryString": "", "headers": { "Accept": "x", "accept": "y" },
            "requestContext": { "http": { "method": "GET", "path": "/b", "sourceIp": "192.0.2.1" } },
        });
        change(&mut event);
        event
    }

    #[test]
    fn what_a_client_can_make_odd_is_a_request_all_the_same() {
        for (name, value) in [
            ("rawQueryString", json!("a=\u{0}%zz\u{fffd} \n[]")),
            ("rawPath", json!("//\u{0} %zz?#\u{ffff}".repeat(1000))),
            ("headers", json!({ "host": "[::::", "x-forwarded-proto": "ht tp", "": "\n", "ü\n": "\u{0}" })),
            ("cookies", json!(["\n", "a=b"])),
            ("pathParameters", json!({ "id": [] })),
            ("body", json!(null)),
        ] {
            let request = read(&event(|event| event[name] = value)).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!((request.method(), request.text(0).as_deref()), ("GET", Ok("")), "{name}");
        }
        let odd = event(|event| event["requestContext"]["http"] = json!({ "method": "a\nb", "sourceIp": "nowhere" }));
        assert_eq!(read(&odd).unwrap().source_ip(), None);
    }

    #[test]
    fn a_request_is_read_by_what_it_must_have() {
        let request = read(&event(|_| {})).unwrap();
        assert_eq!((request.path(), request.source_ip()), ("/a", "192.0.2.1".parse().ok()));
        assert_eq!(request.header("accept"), Some("x,y"), "in either case");
        let without = event(|event| event.as_object_mut().unwrap().retain(|name, _| name == "requestContext"));
        assert_eq!(read(&without).unwrap().path(), "/b");
    }

    #[test]
    fn what_is_no_request_is_told() {
        let rest = json!({ "httpMethod": "GET", "path": "/a", "requestContext": { "requestId": "r", "stage": "s" } });
        let balancer =
            json!({ "httpMethod": "GET", "path": "/a", "requestContext": { "elb": { "targetGroupArn": "a" } } });
        for refused in [json!(null), json!([]), json!(1), json!("x"), json!({}), rest, balancer] {
            let error = read(&refused).unwrap_err().to_string();
            assert!(error.contains("payload format 2.0"), "{error}");
        }
        for name in ["rawPath", "headers", "body", "requestContext", "isBase64Encoded"] {
            let error = read(&event(|event| event[name] = json!([[1]]))).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        assert!(read(&event(|event| event["headers"] = json!({ "a": "x".repeat(MAX_ENVELOPE_BYTES) }))).is_err());
        let twice = RawValue::from_string(r#"{"body":"a","body":"b"}"#.to_owned()).unwrap();
        assert!(HttpRequest::read(&twice).is_err());
    }

    #[test]
    fn a_body_is_a_text_or_told_why_not() {
        let text = |body: &str, is_base64: bool, limit| {
            let request = read(&event(|event| {
                event["body"] = json!(body);
                event["isBase64Encoded"] = json!(is_base64);
            }));
            request.unwrap().text(limit).map(Cow::into_owned)
        };
        assert_eq!(text("{}", false, 2), Ok("{}".to_owned()));
        assert_eq!(text("{}", false, 1), Err(NoText::TooLong { limit: 1 }));
        assert_eq!(text("e30=", true, 2), Ok("{}".to_owned()));
        assert_eq!(text("MTIzNDU2", true, 3), Err(NoText::TooLong { limit: 3 }));
        for (body, length) in [("", 0), ("MQ==", 1), ("MTI=", 2), ("MTIz", 3), ("MTIzNA==", 4)] {
            assert_eq!(text(body, true, length).map(|text| text.len()), Ok(length), "{body}");
            if let Some(limit) = length.checked_sub(1) {
                assert_eq!(text(body, true, limit), Err(NoText::TooLong { limit }), "{body}");
            }
        }
        for refused in ["e30", "e3\n0=", "=", "ü"] {
            assert_eq!(text(refused, true, 100), Err(NoText::NotBase64), "{refused}");
        }
        assert_eq!(text("/w==", true, 100), Err(NoText::NotUtf8));
    }

    #[test]
    fn the_caller_is_who_the_authorizer_says() {
        let caller = |authorizer: Value| {
            read(&event(|event| event["requestContext"]["authorizer"] = authorizer)).unwrap().caller
        };
        let arn = "arn:aws:sts::123456789012:assumed-role/till/3";
        let iam = json!({ "accessKey": "ASIA", "cognitoIdentity": null, "userArn": arn, "userId": "AROA:3" });
        assert_eq!(caller(json!({ "iam": iam })), Caller::Iam { arn: arn.to_owned(), cognito_identity: None });
        let identity = "eu-central-1:0f3c8a1e-5b7d-4c2a-9e6f-1d2b3c4a5e6f";
        let cognito = json!({ "amr": ["authenticated"], "identityId": identity, "identityPoolId": "eu-central-1:1" });
        assert_eq!(
            caller(json!({ "iam": { "cognitoIdentity": cognito, "userArn": arn } })),
            Caller::Iam { arn: arn.to_owned(), cognito_identity: Some(identity.to_owned()) }
        );
        let claims = json!({ "iss": "https://issuer.example", "sub": "till 3", "exp": 1 });
        assert_eq!(
            caller(json!({ "jwt": { "claims": claims, "scopes": null } })),
            Caller::Jwt { issuer: "https://issuer.example".to_owned(), subject: Some("till 3".to_owned()) }
        );
        for without in
            [json!({ "iss": "https://issuer.example" }), json!({ "iss": "https://issuer.example", "sub": "" })]
        {
            assert_eq!(
                caller(json!({ "jwt": { "claims": without } })),
                Caller::Jwt { issuer: "https://issuer.example".to_owned(), subject: None }
            );
        }
        for anonymous in [json!(null), json!({}), json!({ "lambda": { "iam": "x" } })] {
            assert_eq!(caller(anonymous), Caller::Anonymous);
        }
    }
}
