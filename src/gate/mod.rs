//! Decides who may go and when: hands out permits, and learns from every answer.

/// The right to send one request upstream. Made only by the gate.
///
/// # Drop
/// An unsent permit gives its token back (decision 0005).
#[derive(Debug)]
pub struct Permit(());

impl Permit {
    /// The request is about to reach the wire: the token is spent.
    pub fn spend(self) -> Receipt {
        Receipt(())
    }

    /// A permit outside any gate, for unit tests of the rooms that spend one.
    #[cfg(test)]
    pub(crate) fn free() -> Self {
        Self(())
    }
}

/// A spent permit: one request in flight, until the gate hears how it was answered.
///
/// # Drop
/// Dropped unheard, the place in flight is freed and nothing is learned.
#[derive(Debug)]
pub struct Receipt(());
