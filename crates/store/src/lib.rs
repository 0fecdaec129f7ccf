//! `tidegate-store`.
