//! What a running Tollgate tells a person at a terminal, and a probe that has no other tool.

mod ask;
mod table;

pub use ask::{Silent, ask, reachable};
pub use table::table;
