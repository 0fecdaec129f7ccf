//! `tidegate-stage`.
fn main() {}
