//! Nothing to depend on: the tests stand in `main.rs`.
