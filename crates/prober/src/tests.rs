//! Judging, pace, doubt, lists, and the machine in virtual time.

mod erring;
mod judging;
mod lists;
mod machine;
mod world;
