//! `tidegate-record`.
