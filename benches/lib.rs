//! Benches of the libraries. `cargo xtask bench NAME` runs one; targets stand in `targets.toml`.
