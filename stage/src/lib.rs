//! `tidegate-stage`.
