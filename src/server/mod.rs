//! The way in: accept, TLS, the connection's limits and deadlines, graceful drain.

pub mod ca;
mod fault;
mod validity;

pub use fault::Fault;

#[cfg(test)]
mod tests;
