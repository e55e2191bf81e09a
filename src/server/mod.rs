//! The way in: accept, TLS, the connection's limits and deadlines, graceful drain.

pub mod ca;
pub mod drain;
mod fault;
mod pem;
mod settings;
pub mod tls;
mod validity;

pub use fault::Fault;
pub use settings::ServerSettings;

#[cfg(test)]
mod tests;
