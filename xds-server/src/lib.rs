//! `xds-server`.
