//! A network whose links are as late and as lossy as a matrix says: every packet between two sites goes through here.
//!
//! Owns one TUN device per site, the queue in which packets wait for their time, and the loss. Refuses to look into a
//! packet beyond its addresses and protocol: TCP, UDP, handshakes and acknowledgements are late alike, and no program
//! knows of it. Loss takes UDP alone: a lost TCP segment would only be TCP's own waiting again. What two processes
//! of one site say to each other does not pass here.

mod devices;
mod matrix;
mod queue;

pub(crate) use devices::{Relay, Wire};
pub(crate) use matrix::Matrix;
pub(crate) use queue::Delays;

#[cfg(test)]
mod tests;
