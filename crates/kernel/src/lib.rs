//! `tidegate-kernel`.
