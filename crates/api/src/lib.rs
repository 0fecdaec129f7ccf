//! `tidegate-api`.
