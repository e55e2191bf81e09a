//! Holds what the model reads in queries, forms and flags.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;

use crate::sim::model::multipart;
use crate::sim::model::query::{Query, decode};
use crate::sim::model::stamp::stamp;

#[test]
fn times_are_written_as_webex_writes_them() {
    for (millis, expected) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_399_999, "2000-02-28T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_461_265_968_920, "2016-04-21T19:12:48.920Z"),
        (4_102_444_800_000, "2100-01-01T00:00:00.000Z"),
    ] {
        assert_eq!(stamp(UNIX_EPOCH + Duration::from_millis(millis)), expected);
    }
}

#[test]
fn escapes_are_decoded_and_what_is_none_is_kept() {
    for (raw, expected) in
        [("a%40b", "a@b"), ("a+b", "a b"), ("%", "%"), ("%4", "%4"), ("%zz", "%zz"), ("%E4%B8%96", "世")]
    {
        assert_eq!(decode(raw), expected);
    }
}

#[test]
fn pairs_without_a_value_survive_and_the_last_value_wins() {
    let query = Query::parse("max=1&before&after=x&max=100");
    assert_eq!(query.value("max").as_deref(), Some("100"));
    assert_eq!(query.value("before"), None);
    assert_eq!(query.without(&["max"]), ["before", "after=x"]);
}

proptest::proptest! {
    #[test]
    fn strangers_bytes_never_break_the_parsers(raw in ".{0,60}", body: Vec<u8>) {
        decode(&raw);
        Query::parse(&raw).without(&[]);
        multipart::parts(&Bytes::from(body.clone()), "b");
        let framed = [b"--b\r\n".as_slice(), &body, b"\r\n--b--"].concat();
        multipart::parts(&Bytes::from(framed), "b");
    }
}
