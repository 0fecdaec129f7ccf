//! `tidegate-benches`.
