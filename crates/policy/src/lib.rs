//! `tidegate-policy`.
