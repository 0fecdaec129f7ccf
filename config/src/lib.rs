//! `tidegate-config`.
