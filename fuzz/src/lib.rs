//! What must hold whatever strangers write: one property for each fuzz target, a function of the bytes alone.
//!
//! `fuzz_targets` hands them libFuzzer's inputs; `tests/it/corpora.rs` includes this file and hands them what is kept.

pub mod cache_control;
pub mod config;
pub mod json;
pub mod links;
pub mod rate_headers;
pub mod request_head;
pub mod response_head;
mod rooms;
mod wire;

/// Panics where what it says does not hold for an input.
pub type Property = fn(&[u8]);

/// Every target and its property.
pub const ALL: [(&str, Property); 7] = [
    ("cache_control", cache_control::holds),
    ("config", config::holds),
    ("json", json::holds),
    ("links", links::holds),
    ("rate_headers", rate_headers::holds),
    ("request_head", request_head::holds),
    ("response_head", response_head::holds),
];
