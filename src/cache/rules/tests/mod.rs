//! The rules, by concern.

mod changing;
mod lifetimes;
mod ranges;
mod selecting;
mod serving;
mod strangers;
mod validating;
mod world;
