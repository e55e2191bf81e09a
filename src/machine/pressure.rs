//! Decides how short memory is: pure arithmetic on what is used and what there is.

/// How short memory is, and what is refused because of it. Ordered: each refuses more than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// There is enough.
    Calm,
    /// Uploads that do not fit in a small buffer are refused.
    Uploads,
    /// Every request is refused, and the cache gives memory back.
    Requests,
}

impl Pressure {
    /// The word for log and status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Requests => "requests",
            Self::Uploads => "uploads",
        }
    }

    /// As a number, for the gauge: 0 calm, 1 uploads, 2 requests.
    pub fn level(self) -> u8 {
        match self {
            Self::Calm => 0,
            Self::Uploads => 1,
            Self::Requests => 2,
        }
    }

    pub(super) fn of_level(level: u8) -> Self {
        match level {
            0 => Self::Calm,
            1 => Self::Uploads,
            _ => Self::Requests,
        }
    }
}

/// From which part of the limit on something is refused; percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Uploads.
    pub uploads: u32,
    /// All requests; not less than `uploads`.
    pub requests: u32,
}

impl Marks {
    /// What `used` of `limit` bytes means, if it meant `before` a moment ago. A pressure ends only some percent below its
    /// mark, or it would come and go with every request.
    pub(super) fn judge(self, before: Pressure, used: u64, limit: u64) -> Pressure {
        let percent_used = u128::from(used) * 100;
        let reaches = |mark: u32, pressure: Pressure| {
            let mark = if before >= pressure { mark.saturating_sub(SLACK) } else { mark };
            percent_used >= u128::from(limit) * u128::from(mark)
        };
        if reaches(self.requests, Pressure::Requests) {
            Pressure::Requests
        } else if reaches(self.uploads, Pressure::Uploads) {
            Pressure::Uploads
        } else {
            Pressure::Calm
        }
    }
}

/// Percent of the limit: more than one scrape or one large answer moves it.
const SLACK: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks = Marks { uploads: 70, requests: 80 };

    #[test]
    fn a_pressure_begins_at_its_mark_and_ends_below_it() {
        use Pressure::{Calm, Requests, Uploads};
        for (before, used, expected) in [
            (Calm, 0, Calm),
            (Calm, 699, Calm),
            (Calm, 700, Uploads),
            (Calm, 799, Uploads),
            (Calm, 800, Requests),
            (Calm, 5_000, Requests),
            (Uploads, 650, Uploads),
            (Uploads, 649, Calm),
            (Uploads, 799, Uploads),
            (Uploads, 800, Requests),
            (Requests, 750, Requests),
            (Requests, 749, Uploads),
            (Requests, 650, Uploads),
            (Requests, 649, Calm),
        ] {
            assert_eq!(MARKS.judge(before, used, 1_000), expected, "{before:?} {used}");
        }
    }

    #[test]
    fn absurd_figures_do_not_overflow() {
        assert_eq!(MARKS.judge(Pressure::Calm, u64::MAX, u64::MAX), Pressure::Requests);
        assert_eq!(MARKS.judge(Pressure::Calm, 1, u64::MAX), Pressure::Calm);
    }

    #[test]
    fn a_level_is_a_pressure_and_back() {
        for pressure in [Pressure::Calm, Pressure::Uploads, Pressure::Requests] {
            assert_eq!(Pressure::of_level(pressure.level()), pressure);
        }
    }
}
