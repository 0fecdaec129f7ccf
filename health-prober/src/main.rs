//! `health-prober`.
fn main() {}
