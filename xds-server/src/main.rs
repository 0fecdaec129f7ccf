//! `xds-server`.
fn main() {}
