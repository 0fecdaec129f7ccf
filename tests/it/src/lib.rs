//! `tidegate-it`.
