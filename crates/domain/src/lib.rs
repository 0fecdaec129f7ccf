//! `tidegate-domain`.
