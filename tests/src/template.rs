//! Expands `template.yaml`, and compares it with the code.

pub mod cloudformation;
pub mod complaints;
mod expected;
pub mod permissions;
pub mod recorder;
