//! The room's tests, one file for each subject.

mod ca;
mod tls;
