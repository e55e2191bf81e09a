//! Tollgate: a rate-limit-aware caching reverse proxy for the Webex REST API.
//!
//! The modules stand in walking order, and a module imports only from modules declared above it:
//! reading order, walking order and dependency order are one list (`tests/architecture.rs`).

pub mod words;
pub mod body;
pub mod clock;
pub mod machine;
pub mod server;
pub mod route;
pub mod admit;
pub mod cache;
pub mod gate;
pub mod share;
pub mod rewrite;
pub mod upstream;
pub mod reply;
pub mod metrics;
pub mod trail;
pub mod proxy;
pub mod config;
pub mod admin;
pub mod app;
pub mod sim;
pub mod demo;
pub mod doctor;
pub mod console;
