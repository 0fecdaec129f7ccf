//! `tidegate-xds`.
