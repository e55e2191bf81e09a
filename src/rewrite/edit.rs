//! Edits file URLs in a JSON body while it streams: scheme and authority alone, every other byte as it came.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};

use super::bases::{self, Span};
use super::escape::{Decoded, LONGEST_ESCAPE};
use super::fields;
use super::scan::{Mark, Paths, Scanner};
use crate::body::{Body, BodyError};
use crate::words::Base;

/// Which URLs are edited, and what they become.
#[derive(Debug)]
pub(super) struct Plan {
    /// Where the strings must stand.
    pub(super) paths: Paths,
    /// What they must start with.
    pub(super) from: Arc<[Base]>,
    /// What must follow; one of them.
    pub(super) tails: &'static [&'static str],
    /// Whose scheme and authority they get.
    pub(super) to: Base,
}

/// The body with its file URLs edited, and trailers that only say what a trailer may say; the length is no longer known.
///
/// Holds at most the beginning of one URL, as much as decides whether it is one of the plan's.
pub(super) fn edited(body: Body, plan: Plan) -> Body {
    Body::stream(Edited { inner: body, editor: Editor::new(plan), trailers: None, is_over: false })
}

struct Edited {
    inner: Body,
    editor: Editor,
    trailers: Option<HeaderMap>,
    is_over: bool,
}

impl HttpBody for Edited {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        while !self.is_over {
            let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame.into_data(),
                Some(Err(error)) => {
                    self.is_over = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => Err(Frame::trailers(HeaderMap::new())),
            };
            let bytes = match frame {
                Ok(chunk) => self.editor.push(&chunk),
                Err(last) => {
                    self.is_over = true;
                    self.trailers = last.into_trailers().ok().filter(|fields| !fields.is_empty()).map(safe);
                    self.editor.finish()
                }
            };
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
        Poll::Ready(self.trailers.take().map(|fields| Ok(Frame::trailers(fields))))
    }

    fn is_end_stream(&self) -> bool {
        (self.is_over || self.inner.is_end_stream()) && self.trailers.is_none() && self.editor.is_idle()
    }
}

fn safe(mut trailers: HeaderMap) -> HeaderMap {
    fields::make_safe(&mut trailers);
    trailers
}

/// The editor proper: chunks in, chunks out, wherever they are cut.
#[derive(Debug)]
struct Editor {
    scanner: Scanner,
    plan: Plan,
    /// The most raw bytes that the part which decides can take.
    longest: usize,
    /// The beginning of a wanted string that is not decided yet.
    held: Option<Vec<u8>>,
}

impl Editor {
    fn new(plan: Plan) -> Self {
        let authority = plan.from.iter().map(|base| base.authority.as_str().len()).max().unwrap_or(0);
        let tail = plan.tails.iter().map(|tail| tail.len()).max().unwrap_or(0);
        let longest = LONGEST_ESCAPE * ("https://".len() + authority + ":65535".len() + tail);
        Self { scanner: Scanner::new(plan.paths), plan, longest, held: None }
    }

    /// The bytes that may go on: without an edit a slice of `chunk`, not a copy.
    fn push(&mut self, chunk: &Bytes) -> Bytes {
        let mut out = Output { chunk, edited: BytesMut::new(), passed: 0 };
        let mut at = 0;
        // What `held` brought along from earlier chunks, and where its part of this chunk starts.
        let mut carried = self.held.as_ref().map_or(0, Vec::len);
        let mut held_from = 0;
        while let Some(rest @ [_, ..]) = chunk.get(at..) {
            let (taken, mark) = self.scanner.advance(rest);
            let is_closed = mark == Some(Mark::Closed);
            let text = rest.get(..taken - usize::from(is_closed)).unwrap_or_default();
            if let Some((raw, held_here)) = self.hold(text, is_closed) {
                if let Some((edit, raw_end)) = replacement(&self.plan, &raw) {
                    let unchanged = raw.get(raw_end..).unwrap_or_default();
                    out.replace(held_from, &[&edit, unchanged], at + held_here);
                } else {
                    out.replace(0, &[raw.get(..carried).unwrap_or_default()], 0);
                }
                carried = 0;
            }
            at += taken;
            if mark == Some(Mark::Opened) {
                self.held = Some(Vec::new());
                held_from = at;
            }
        }
        out.finish(if self.held.is_some() { held_from } else { chunk.len() })
    }

    /// Holds more of a wanted string. Once it can be decided: all that was held, and how much of `text` that is.
    fn hold(&mut self, text: &[u8], is_closed: bool) -> Option<(Vec<u8>, usize)> {
        let held = self.held.as_mut()?;
        let more = text.len().min(self.longest - held.len());
        held.extend(text.iter().take(more));
        if is_closed || held.len() == self.longest { self.held.take().map(|raw| (raw, more)) } else { None }
    }

    /// What was still held: the text ended inside a string, so nothing was decided.
    fn finish(&mut self) -> Bytes {
        self.held.take().unwrap_or_default().into()
    }

    fn is_idle(&self) -> bool {
        self.held.as_ref().is_none_or(Vec::is_empty)
    }
}

/// What becomes of one chunk.
struct Output<'a> {
    chunk: &'a Bytes,
    edited: BytesMut,
    /// How much of the chunk `edited` accounts for.
    passed: usize,
}

impl Output<'_> {
    /// Passes the chunk up to `from` and puts `parts` in the place of what stands before `to`.
    fn replace(&mut self, from: usize, parts: &[&[u8]], to: usize) {
        self.edited.extend_from_slice(self.chunk.get(self.passed..from).unwrap_or_default());
        parts.iter().for_each(|part| self.edited.extend_from_slice(part));
        self.passed = self.passed.max(to);
    }

    fn finish(mut self, end: usize) -> Bytes {
        let rest = self.chunk.slice(self.passed.min(end)..end);
        if self.edited.is_empty() {
            return rest;
        }
        self.edited.extend_from_slice(&rest);
        self.edited.freeze()
    }
}

/// What takes the place of the first bytes of `raw`, and how many they are; none: not one of the plan's URLs.
fn replacement(plan: &Plan, raw: &[u8]) -> Option<(Vec<u8>, usize)> {
    let decoded = Decoded::read(raw);
    let span = bases::find(&plan.from, &decoded.text)?;
    let tail = decoded.text.get(span.authority_end..)?;
    plan.tails.iter().find(|wanted| tail.starts_with(wanted.as_bytes()))?;
    let raw_span = Span {
        scheme_end: decoded.raw_end(span.scheme_end),
        authority_start: decoded.raw_end(span.authority_start),
        authority_end: decoded.raw_end(span.authority_end),
    };
    Some((bases::swap(&plan.to, raw, raw_span), raw_span.authority_end))
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use crate::words::Scheme;

    const API: &str = "https://webexapis.com";
    const LEGACY: &str = "https://api.ciscospark.com";
    const LOCAL: &str = "http://localhost:8080";

    fn base(text: &str) -> Base {
        let (scheme, authority) = text.split_once("://").unwrap();
        let scheme = if scheme == "http" { Scheme::Http } else { Scheme::Https };
        Base { scheme, authority: authority.parse().unwrap() }
    }

    fn answer(from: &[&str], to: &str) -> Editor {
        let from = from.iter().map(|text| base(text)).collect();
        Editor::new(Plan { paths: Paths::Answer, from, tails: &["/v1/contents/"], to: base(to) })
    }

    fn run(mut editor: Editor, text: &[u8], cuts: &[usize]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = Bytes::copy_from_slice(text);
        for cut in cuts {
            out.extend_from_slice(&editor.push(&rest.split_to(cut % (rest.len() + 1))));
        }
        out.extend_from_slice(&editor.push(&rest));
        out.extend_from_slice(&editor.finish());
        out
    }

    fn check(text: &str, expected: &str) {
        let whole = run(answer(&[API, LEGACY], LOCAL), text.as_bytes(), &[]);
        assert_eq!(String::from_utf8_lossy(&whole), expected, "{text}");
        let bytewise = run(answer(&[API, LEGACY], LOCAL), text.as_bytes(), &vec![1; text.len()]);
        assert_eq!(String::from_utf8_lossy(&bytewise), expected, "{text} byte by byte");
    }

    #[test]
    fn file_urls_are_edited_at_their_paths_whatever_their_spelling() {
        for (text, expected) in [
            (
                r#"{"files":["https://webexapis.com/v1/contents/Y2","https://api.ciscospark.com/v1/contents/Z"]}"#,
                r#"{"files":["http://localhost:8080/v1/contents/Y2","http://localhost:8080/v1/contents/Z"]}"#,
            ),
            (
                "\u{feff} { \"items\" : [ { \"id\":1, \"files\" : [ null , \"HTTPS://WEBEXAPIS.com:443/v1/contents/a\" ] } , {} ] }\n",
                "\u{feff} { \"items\" : [ { \"id\":1, \"files\" : [ null , \"http://localhost:8080/v1/contents/a\" ] } , {} ] }\n",
            ),
            (
                r#"{"f\u0069les":["https:\/\/webexapis.com\/v1\/contents\/a\"b"]}"#,
                r#"{"f\u0069les":["http:\/\/localhost:8080\/v1\/contents\/a\"b"]}"#,
            ),
            (
                r#"{"\u0066\u0069\u006C\u0065\u0073":["\u0068ttps://\u0077ebexapis.com/v1/c\u006fntents/\u0061"]}"#,
                r#"{"\u0066\u0069\u006C\u0065\u0073":["http://localhost:8080/v1/c\u006fntents/\u0061"]}"#,
            ),
            (
                r#"{"x":"\\","y":{"a":"]}"},"z":[[]],"files":["https://webexapis.com/v1/contents/a"],"files":["https://webexapis.com/v1/contents/b"]}"#,
                r#"{"x":"\\","y":{"a":"]}"},"z":[[]],"files":["http://localhost:8080/v1/contents/a"],"files":["http://localhost:8080/v1/contents/b"]}"#,
            ),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn everything_else_passes_byte_for_byte() {
        let url = "\"https://webexapis.com/v1/contents/a\"";
        for template in [
            r#"{"text":URL,"markdown":URL,"html":URL}"#,
            r#"{"attachments":[{"content":{"files":[URL]}}]}"#,
            r#"{"items":[{"x":{"files":[URL]}},[{"files":[URL]}],{"attachments":[{"files":[URL]}]}]}"#,
            r#"{"items":[[URL]],"x":{"items":[{"files":[URL]}]}}"#,
            r#"{"items":{"files":[URL]}}"#,
            r#"{"files":URL}"#,
            r#"{"files":[[URL],{"a":URL}]}"#,
            r#"{"files ":[URL],"filesfilesfilesfilesfilesfilesfiles":[URL],"Files":[URL],"file":[URL]}"#,
            r#"[{"files":[URL]}]"#,
            r#"{"a":1,,"files":[URL]}"#,
            r#"{"a" 1,"files":[URL]}"#,
            r#"{"a":[1}],"files"[URL]}"#,
            r#"}{"files":[URL]}"#,
            r#"{} {"files":[URL]}"#,
            r#""files":[URL]"#,
            r#"{files:[URL]}"#,
            "URL",
        ] {
            let text = template.replace("URL", url);
            check(&text, &text);
        }
        for other in [
            "https://webexapis.com/v1/rooms/a",
            "https://webexapis.com/contents/a",
            "https://webexapis.com",
            "https://webexapis.com.evil.example/v1/contents/a",
            "https://evil.example/https://webexapis.com/v1/contents/a",
            " https://webexapis.com/v1/contents/a",
            "http://webexapis.com/v1/contents/a",
            "https:\\\\/\\\\/webexapis.com/v1/contents/a",
            "https\\u00e9://webexapis.com/v1/contents/a",
            "世界",
            "",
        ] {
            let text = format!("{{\"files\":[\"{other}\"]}}");
            check(&text, &text);
        }
        // Broken off inside a string: nothing is decided, nothing lost.
        let text = r#"{"files":["https://webexapis.com/v1/contents/a"#;
        check(text, text);
    }

    #[test]
    fn requests_are_edited_at_the_top_level_only() {
        let plan = |tails| Plan { paths: Paths::Request, from: [base(LOCAL)].into(), tails, to: base(API) };
        let text = br#"{"files":["http://localhost:8080/v1/contents/a","http://localhost:8080/contents/b"],"items":[{"files":["http://localhost:8080/v1/contents/c"]}]}"#;
        let edited = run(Editor::new(plan(&["/v1/contents/", "/contents/"])), text, &[]);
        let expected = br#"{"files":["https://webexapis.com/v1/contents/a","https://webexapis.com/contents/b"],"items":[{"files":["http://localhost:8080/v1/contents/c"]}]}"#;
        assert_eq!(String::from_utf8_lossy(&edited), String::from_utf8_lossy(expected));
    }

    #[test]
    fn a_chunk_without_an_edit_is_not_copied() {
        let chunk =
            Bytes::from_static(br#"{"files":["https://other.example/"],"text":"https://webexapis.com"}"#);
        assert_eq!(answer(&[API], LOCAL).push(&chunk).as_ptr(), chunk.as_ptr());
    }

    #[test]
    fn an_endless_url_is_not_held() {
        let mut editor = answer(&[API], LOCAL);
        let mut text = br#"{"files":[""#.to_vec();
        text.extend(std::iter::repeat_n(b'a', 100_000));
        let length = text.len();
        assert_eq!(editor.push(&text.into()).len(), length);
        assert!(editor.is_idle());
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            Just(format!("{API}/v1/contents/Y2lzY29\"\\x/y")),
            Just(format!("{LEGACY}/v1/contents/Z")),
            Just(format!("{API}/v1/rooms/")),
            Just(API.to_owned()),
            "https://webexapis.com/v1/contents/.*",
            ".{0,12}",
        ]
    }

    /// Half of the documents are message lists or messages in shape, so that edits happen.
    fn document() -> impl Strategy<Value = Value> {
        let message = || {
            (prop::collection::vec(text(), 0..4), any_value(), text()).prop_map(
                |(files, other, text)| json!({"files": files, "attachments": [other], "text": text}),
            )
        };
        let list = prop::collection::vec(prop_oneof![3 => message().boxed(), 1 => any_value().boxed()], 0..4);
        prop_oneof![any_value(), message(), list.prop_map(|items| json!({ "items": items }))]
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let key = prop_oneof![4 => Just("files".to_owned()), 4 => Just("items".to_owned()), 1 => ".{0,6}"];
        let leaf = prop_oneof![
            4 => text().prop_map(Value::from),
            1 => any::<i32>().prop_map(Value::from),
            1 => Just(Value::Null),
            1 => any::<bool>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(key.clone(), inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// One of the many spellings of `value`; `dice` chooses.
    fn render(value: &Value, dice: &mut impl Iterator<Item = u8>, out: &mut String) {
        let blank =
            |dice: &mut dyn Iterator<Item = u8>| ["", " ", "\n\t"][usize::from(dice.next().unwrap() % 3)];
        out.push_str(blank(dice));
        match value {
            Value::Array(values) => {
                let mut separator = '[';
                for value in values {
                    out.push(separator);
                    render(value, dice, out);
                    separator = ',';
                }
                out.push_str(if values.is_empty() { "[ ]" } else { "]" });
            }
            Value::Object(members) => {
                let mut separator = '{';
                for (key, value) in members {
                    out.push(separator);
                    render(&Value::from(key.as_str()), dice, out);
                    out.push(':');
                    render(value, dice, out);
                    separator = ',';
                }
                out.push_str(if members.is_empty() { "{}" } else { "}" });
            }
            Value::String(text) => {
                out.push('"');
                for unit in text.chars() {
                    match (unit, dice.next().unwrap() % 8) {
                        ('/', 0..4) => out.push_str("\\/"),
                        (_, 0) => unit
                            .encode_utf16(&mut [0; 2])
                            .iter()
                            .for_each(|unit| *out += &format!("\\u{unit:04X}")),
                        ('"' | '\\' | '\0'..' ', _) => *out += &format!("\\u{:04x}", u32::from(unit)),
                        _ => out.push(unit),
                    }
                }
                out.push('"');
            }
            other => *out += &other.to_string(),
        }
        out.push_str(blank(dice));
    }

    fn oracle(mut document: Value) -> Value {
        fn files(value: &mut Value) {
            for file in value.get_mut("files").and_then(Value::as_array_mut).into_iter().flatten() {
                for base in [API, LEGACY] {
                    let rest = file.as_str().and_then(|url| url.strip_prefix(base));
                    if let Some(rest) = rest.filter(|rest| rest.starts_with("/v1/contents/")) {
                        *file = format!("{LOCAL}{rest}").into();
                    }
                }
            }
        }
        if document.is_object() {
            files(&mut document);
        }
        for item in document.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
            files(item);
        }
        document
    }

    proptest! {
        #[test]
        fn a_document_says_what_the_oracle_says(
            document in document(),
            dice in prop::collection::vec(any::<u8>(), 1..64),
            cuts in prop::collection::vec(0usize..40, 0..40),
        ) {
            let mut text = String::new();
            render(&document, &mut dice.into_iter().cycle(), &mut text);
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), document.clone());
            let edited = run(answer(&[API, LEGACY], LOCAL), text.as_bytes(), &cuts);
            let expected = oracle(document.clone());
            let is_untouched = expected == document;
            prop_assert_eq!(serde_json::from_slice::<Value>(&edited).unwrap(), expected);
            prop_assert_eq!(&edited, &run(answer(&[API, LEGACY], LOCAL), text.as_bytes(), &[]));
            if is_untouched {
                prop_assert_eq!(String::from_utf8(edited).unwrap(), text);
            }
        }

        #[test]
        fn there_and_back_is_the_identity(
            document in document(),
            dice in prop::collection::vec(any::<u8>(), 1..64),
        ) {
            let mut text = String::new();
            // Escapes in scheme and authority would come back plain: only slashes may be escaped here.
            render(&document, &mut dice.into_iter().cycle().map(|die| die | 1), &mut text);
            let there = run(answer(&[API], LOCAL), text.as_bytes(), &[]);
            let back = run(answer(&[LOCAL], API), &there, &[]);
            prop_assert_eq!(String::from_utf8(back).unwrap(), text);
        }

        #[test]
        fn bytes_without_a_known_url_pass(
            text in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(vec![
                        "{", "}", "[", "]", ",", ":", "\"", "\\", "\"files\":[", "\"items\":[{", "https://webexapis.com/",
                    ]).prop_map(|text| text.as_bytes().to_vec()),
                    prop::collection::vec(any::<u8>(), 0..4),
                ],
                0..60,
            ),
            cuts in prop::collection::vec(0usize..20, 0..20),
        ) {
            let text = text.concat();
            prop_assert_eq!(run(answer(&[API], LOCAL), &text, &cuts), text);
        }
    }
}
