//! Decides how the descriptors that the system allows are shared out, so that a flood on one side leaves the others some.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the configuration would take if it could.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Connections of clients at once.
    pub connections: usize,
    /// Requests at the API at once.
    pub in_flight: usize,
    /// Connections of operators at once.
    pub operators: usize,
}

/// How many descriptors each side may hold. Their sum stays below the limit; none is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Connections of clients.
    pub connections: usize,
    /// Connections to the API.
    pub upstream: usize,
    /// Uploads that wait in files.
    pub spooled: usize,
    /// Connections of operators.
    pub operators: usize,
}

impl Shares {
    /// Out of `limit` descriptors. Operators come first and clients last: who is turned away at the door can come again,
    /// a request that was taken in and finds no way out is lost.
    pub fn of(limit: usize, wanted: Wanted) -> Self {
        let free = limit.saturating_sub(OWN);
        let operators = wanted.operators.min(free / 8).max(FEWEST_OPERATORS);
        let traffic = free.saturating_sub(operators);
        let connections = wanted.connections.min(traffic / 2).max(1);
        let outward = traffic.saturating_sub(connections);
        let spooled = (outward / 4).max(1);
        Self { connections, upstream: outward.saturating_sub(spooled).max(1), spooled, operators }
    }

    /// Whether everybody gets what was wanted.
    pub fn cover(&self, wanted: Wanted) -> bool {
        self.connections >= wanted.connections
            && self.upstream >= wanted.in_flight
            && self.operators >= wanted.operators
    }
}

impl Wanted {
    /// The smallest limit whose [`Shares`] cover this.
    pub fn limit(&self) -> usize {
        let outward = self.in_flight.saturating_add(self.in_flight.div_ceil(3));
        let traffic = self.connections.saturating_add(outward.max(self.connections));
        let operators = self.operators.saturating_mul(8);
        OWN.saturating_add(traffic.saturating_add(self.operators).max(operators))
    }
}

/// How many descriptors this process may have open.
pub fn limit() -> usize {
    getrlimit(Resource::Nofile)
        .current
        .map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// How many it may have once [`raise`] was called.
pub fn highest() -> usize {
    getrlimit(Resource::Nofile)
        .maximum
        .map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Raises the limit as far as the system lets a process do by itself, and says what it is then.
pub fn raise() -> usize {
    let highest = getrlimit(Resource::Nofile).maximum;
    // A system that refuses leaves the limit as it was.
    match setrlimit(Resource::Nofile, Rlimit { current: highest, maximum: highest }) {
        Ok(()) | Err(_) => limit(),
    }
}

/// Whether this machine has no descriptor, port or memory left for a socket or a file: nobody else is to blame.
pub fn is_exhausted(error: &std::io::Error) -> bool {
    let short = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    Errno::from_io_error(error).is_some_and(|errno| short.contains(&errno))
}

/// The process's own: some 15 while nothing happens (the runtime, four listeners, log), and files of state, certificates,
/// kept attachments, name look-ups.
const OWN: usize = 32;
/// A probe, a scrape, an operator, and one more.
const FEWEST_OPERATORS: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WANTED: Wanted = Wanted { connections: 4096, in_flight: 1024, operators: 64 };

    #[test]
    fn shares_follow_the_limit() {
        for (limit, connections, upstream, spooled, operators, covers) in [
            (1_048_576, 4096, 783_288, 261_096, 64, true),
            (20_000, 4096, 11_856, 3_952, 64, true),
            (8_288, 4096, 3_072, 1_024, 64, true),
            (8_287, 4095, 3_072, 1_024, 64, false),
            (1024, 464, 348, 116, 64, false),
            (256, 98, 74, 24, 28, false),
            (64, 14, 11, 3, 4, false),
            (0, 1, 1, 1, 4, false),
        ] {
            let shares = Shares::of(limit, WANTED);
            assert_eq!(shares, Shares { connections, upstream, spooled, operators }, "{limit}");
            assert_eq!(shares.cover(WANTED), covers, "{limit}");
        }
    }

    proptest! {
        #[test]
        fn nobody_gets_nothing_and_together_they_stay_below_the_limit(
            limit in 64_usize..2_000_000, connections in 1_usize..1_000_000, in_flight in 1_usize..1_000_000,
        ) {
            let shares = Shares::of(limit, Wanted { connections, in_flight, operators: 64 });
            let Shares { connections: clients, upstream, spooled, operators } = shares;
            prop_assert!(clients.min(upstream).min(spooled).min(operators) > 0);
            prop_assert!(clients + upstream + spooled + operators + OWN <= limit);
        }

        #[test]
        fn the_limit_that_is_asked_for_is_enough_and_not_wasteful(
            connections in 1_usize..1_000_000, in_flight in 1_usize..1_000_000,
        ) {
            let wanted = Wanted { connections, in_flight, operators: 64 };
            prop_assert!(Shares::of(wanted.limit(), wanted).cover(wanted));
            prop_assert!(!Shares::of(wanted.limit() - 2, wanted).cover(wanted));
        }
    }

    #[test]
    fn a_process_may_open_something() {
        assert!(limit() > 0 && highest() >= limit());
    }
}
