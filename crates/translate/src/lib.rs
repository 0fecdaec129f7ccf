//! `tidegate-translate`.
