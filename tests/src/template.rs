//! What `template.yaml` deploys, and what of it must agree with the code.

pub mod cloudformation;
pub mod complaints;
pub mod permissions;
pub mod recorder;
