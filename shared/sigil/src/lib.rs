//! Sigils: signed, expiring, revocable records of JSON data. Proof of what was registered, when, and that it has not been
//! changed since.
//!
//! ```text
//! data ─canonical─▶ one text ─digest─▶ claims ─token, keys─▶ a signed token ─record, store─▶ DynamoDB
//! ```
//!
//! - [`encode`] makes a sigil of data, [`verify`] says what a token is worth, [`revoke`] ends a sigil before its time, and
//!   [`sweep`] deletes the records that are due;
//! - [`store`] keeps the records, behind one port for each thing that a function may be allowed to do;
//! - [`metrics`] are declared here, and wired to the domain by the wrapping stores and by the functions;
//! - [`view`] is what clients see of a record. HTTP itself is the functions' business.

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
