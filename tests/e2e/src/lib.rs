//! `tidegate-e2e`.
