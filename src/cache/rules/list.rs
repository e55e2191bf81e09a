//! Decides where the members of a list field begin and end (RFC 9110 §5.6.1), quoted strings aside.

use http::{HeaderMap, HeaderName};

/// The members of one field line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Members<'a> {
    /// Without the space around them; empty ones left out.
    pub(super) all: Vec<&'a [u8]>,
    /// Whether every quoted string ends. One that does not quotes nothing: what stands behind it must not be hidden.
    pub(super) is_closed: bool,
}

/// Splits one line at the commas outside quoted strings.
pub(super) fn members(line: &[u8]) -> Members<'_> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    let all = line.split(|byte| {
        let is_plain = !std::mem::take(&mut is_escaped);
        match byte {
            b'\\' if is_quoted => is_escaped = is_plain,
            b'"' if is_plain => is_quoted = !is_quoted,
            _ => {}
        }
        *byte == b',' && !is_quoted
    });
    let all = trimmed(all);
    if is_quoted {
        Members { all: trimmed(line.split(|byte| *byte == b',')), is_closed: false }
    } else {
        Members { all, is_closed: true }
    }
}

/// The members of all lines of a field, in order.
pub(super) fn of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(name).iter().flat_map(|line| members(line.as_bytes()).all)
}

/// A field that stands on exactly one line.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    lines.next().is_none().then(|| first.as_bytes())
}

/// Decimal digits and nothing else; what is too large for the type becomes its largest value.
pub(super) fn digits(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| {
        text.iter().fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    })
}

fn trimmed<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Vec<&'a [u8]> {
    parts.map(<[u8]>::trim_ascii).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &[&str], is_closed: bool) {
        let found = members(line.as_bytes());
        assert_eq!(found.all, expected.iter().map(|part| part.as_bytes()).collect::<Vec<_>>(), "{line}");
        assert_eq!(found.is_closed, is_closed, "{line}");
    }

    #[test]
    fn commas_in_quoted_strings_do_not_split() {
        check("a, b ,c", &["a", "b", "c"], true);
        check(", ,a,,", &["a"], true);
        check("", &[], true);
        check(r#"x="a,b", c"#, &[r#"x="a,b""#, "c"], true);
        check(r#"x="a\",b", c"#, &[r#"x="a\",b""#, "c"], true);
        check(r#"x="a\\", c"#, &[r#"x="a\\""#, "c"], true);
    }

    #[test]
    fn a_quote_without_an_end_hides_nothing() {
        check(r#"x="a, no-store"#, &[r#"x="a"#, "no-store"], false);
        check(r#"x="a\", no-store"#, &[r#"x="a\""#, "no-store"], false);
    }

    #[test]
    fn only_digits_make_a_number() {
        for (text, expected) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.0", None),
            ("'1'", None),
            ("1 ", None),
        ] {
            assert_eq!(digits(text.as_bytes()), expected, "{text}");
        }
    }
}
