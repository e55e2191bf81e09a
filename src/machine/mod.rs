//! What the machine has: descriptors, memory, files; and what it means for those who want some when it runs short.

mod cgroup;
pub mod descriptors;
pub mod file;
mod guard;
mod pressure;

pub use descriptors::{Shares, Wanted};
pub use guard::{Glance, Guard, GuardSettings, Overloaded};
pub use pressure::{Marks, Pressure};
