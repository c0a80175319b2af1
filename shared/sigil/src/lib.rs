//! Sigils: signed, expiring, revocable records of JSON data. A sigil proves what was registered and when, and that it
//! has not changed since.
//!
//! ```text
//! data ─canonical─▶ one text ─digest─▶ claims ─token, keys─▶ a signed token ─record, store─▶ DynamoDB
//! ```
//!
//! - [`encode`] makes a sigil of data, [`verify`] judges a token, [`revoke`] ends a sigil before it expires, and [`sweep`]
//!   deletes the records that are due;
//! - [`store`] keeps the records, behind one port for each kind of access that a function may be granted;
//! - [`metrics`] declares the metrics, which the wrapping stores and the functions update;
//! - [`view`] holds the form of a record that clients see. HTTP itself is left to the functions.

pub mod canonical;
pub mod digest;
pub mod keys;
pub mod timestamp;
pub mod token;

pub mod encode;
pub mod record;
pub mod record_signature;
pub mod revoke;
pub mod sweep;
pub mod verify;

pub mod store;

pub mod metrics;
pub mod settings;
pub mod view;
