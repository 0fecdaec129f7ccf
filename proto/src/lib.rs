//! `tidegate-proto`.
