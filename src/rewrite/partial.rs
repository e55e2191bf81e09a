//! Decides which parts of a successful answer the API says it could not fill in.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::scan::{Mark, Paths, Scanner};
use super::{Packing, is_json, packing};

/// Why a part is missing; the provider's words (rest-api-basics, "Handling Errors" in lists).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureCode {
    /// The key server did not answer, so something stays encrypted.
    KmsFailure,
    /// A code that the provider's page does not name.
    Other,
}

impl FailureCode {
    /// All.
    pub const ALL: [Self; 2] = [Self::KmsFailure, Self::Other];

    /// The word for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::KmsFailure => KMS_FAILURE,
            Self::Other => "other",
        }
    }

    fn of(text: &[u8]) -> Self {
        if text == KMS_FAILURE.as_bytes() { Self::KmsFailure } else { Self::Other }
    }
}

/// Reads an answer as it streams past: the codes at `$.errors.*.code` and `$.items[*].errors.*.code`.
///
/// Holds at most as much of a code as tells it apart from the known ones.
#[derive(Debug)]
pub struct PartialFailures {
    scanner: Scanner,
    held: Option<Vec<u8>>,
}

impl PartialFailures {
    /// A reader for an answer with this head; none unless it is a 200 with JSON that is not packed.
    pub fn of(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        let is_legible =
            status == StatusCode::OK && is_json(headers) && packing(headers) == Some(Packing::None);
        is_legible.then(|| Self { scanner: Scanner::new(Paths::Failures), held: None })
    }

    /// The codes that end in `chunk`, in order.
    pub fn read(&mut self, chunk: &Bytes) -> Vec<FailureCode> {
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(rest @ [_, ..]) = chunk.get(at..) {
            let (taken, mark) = self.scanner.advance(rest);
            if let Some(held) = &mut self.held {
                let text = rest.get(..taken - usize::from(mark == Some(Mark::Closed))).unwrap_or_default();
                let room = KMS_FAILURE.len() + 1 - held.len();
                held.extend(text.iter().take(room));
            }
            match mark {
                Some(Mark::Closed) => found.extend(self.held.take().map(|text| FailureCode::of(&text))),
                Some(Mark::Opened) => self.held = Some(Vec::new()),
                None => {}
            }
            at += taken;
        }
        found
    }
}

const KMS_FAILURE: &str = "kms_failure";

#[cfg(test)]
mod tests {
    use super::FailureCode::{KmsFailure, Other};
    use super::*;

    fn headers(kind: &str, coding: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", kind.parse().unwrap());
        coding.map(|coding| headers.insert("content-encoding", coding.parse().unwrap()));
        headers
    }

    fn check(text: &str, expected: &[FailureCode]) {
        for step in [1, 7, text.len()] {
            let mut reader = PartialFailures::of(StatusCode::OK, &headers("application/json", None)).unwrap();
            let chunks = text.as_bytes().chunks(step).map(Bytes::copy_from_slice);
            let found: Vec<_> = chunks.flat_map(|chunk| reader.read(&chunk)).collect();
            assert_eq!(found, expected, "{text} in steps of {step}");
        }
    }

    #[test]
    fn codes_are_found_at_their_paths_alone() {
        for (text, expected) in [
            (r#"{"id":"a","errors":{"title":{"code":"kms_failure","reason":"x"}}}"#, &[KmsFailure][..]),
            (
                r#"{"items":[{"id":"a"},{"errors":{"title":{"reason":"code","code":"kms_failure"},"b":{"code":"new"}}}],"errors":{}}"#,
                &[KmsFailure, Other],
            ),
            (r#"{"errors":{"a":{"code":"kms_failure_and_more"},"b":{"code":""}}}"#, &[Other, Other]),
            (r#"{"errors":{"a":{"code":7,"code ":"kms_failure","x":{"code":"kms_failure"}}}}"#, &[]),
            (r#"{"errors":[{"description":"a"}],"message":"\"errors\":{\"a\":{\"code\":\"x\"}}"}"#, &[]),
            (r#"{"errors":{"code":"kms_failure"},"x":{"errors":{"a":{"code":"kms_failure"}}}}"#, &[]),
            (r#"{"items":[{"attachments":[{"content":{"errors":{"a":{"code":"kms_failure"}}}}]}]}"#, &[]),
            (r#"{"files":["x"],"items":[{"files":["kms_failure"]}]}"#, &[]),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn only_a_200_with_json_that_lies_open_is_read() {
        let json = "application/json;charset=UTF-8";
        for (status, kind, coding, is_read) in [
            (200, json, None, true),
            (200, json, Some("identity"), true),
            (200, json, Some("gzip"), false),
            (200, "text/plain", None, false),
            (206, json, None, false),
            (404, json, None, false),
        ] {
            let reader = PartialFailures::of(StatusCode::from_u16(status).unwrap(), &headers(kind, coding));
            assert_eq!(reader.is_some(), is_read, "{status} {kind} {coding:?}");
        }
    }
}
