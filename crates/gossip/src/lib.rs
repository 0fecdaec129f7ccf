//! `tidegate-gossip`.
