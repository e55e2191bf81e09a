//! Tenants who do not trust each other: nobody is told what the API did not tell him, whatever happens in which order.

mod oracle;
mod simulated;
mod tenants;
mod vault;
mod walk;
