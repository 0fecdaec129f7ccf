//! `edge-proxy`.
fn main() {}
