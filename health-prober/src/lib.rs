//! `health-prober`.
