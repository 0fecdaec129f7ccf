//! `tidegate-controller`.
