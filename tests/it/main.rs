//! The path in virtual time: bots, Tollgate and a made-up Webex in one process, without sockets; `faults` alone runs the binary.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests: a missing value is a failed test")]

mod cache;
mod corpora;
mod counts;
mod doubles;
mod faults;
mod gate;
mod isolation;
mod links;
mod replays;
mod retry_after;
mod rooms;
mod secrets;
mod wire;
mod world;
