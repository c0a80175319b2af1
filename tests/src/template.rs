//! Expands `template.yaml`, and compares it with the code.

pub mod cloudformation;
pub mod complaints;
pub mod permissions;
pub mod recorder;
