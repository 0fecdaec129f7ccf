//! `tidegate-kernel`.

pub mod health;
