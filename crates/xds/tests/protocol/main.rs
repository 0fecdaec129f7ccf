//! One binary: the machine against a model, and black-box tests of the protocol's rules over loopback.

mod client;
mod lrs;
mod model;
mod rows;
mod support;
