//! The rules, by concern.

mod ranges;
mod strangers;
mod suite;
mod world;
