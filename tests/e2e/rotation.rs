//! Secrets rotate without a deployment.
