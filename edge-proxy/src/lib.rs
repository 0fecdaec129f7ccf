//! `edge-proxy`.
