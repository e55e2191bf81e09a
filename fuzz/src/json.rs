//! However a JSON body is cut into chunks, the file URLs in it change as a reader of the whole document would change them,
//! and no other value does; a body without such a URL keeps every byte, JSON or not.
//!
//! Input: a line of chunk lengths, one byte each, then the body.

use std::collections::VecDeque;
use std::fmt;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use tollgate::body::{Body, BodyError};
use tollgate::route::{Kind, Route};
use tollgate::words::Scheme;

use super::rooms::{API, LEGACY, rewriter, router};

/// Panics where the property does not hold.
pub fn holds(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (cuts, text) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    let head = head();
    let route = router(Kind::Webex).find(Scheme::Http, &head).unwrap();
    let answered = |cuts: &[u8]| {
        let response =
            Response::builder().header("content-type", "application/json").body(chunked(text, cuts));
        text_of(rewriter().inbound(&route, &Method::GET, response.unwrap()).into_body())
    };
    check(text, &answered(cuts), &answered(&[]), Direction::Answer);
    let asked = |cuts: &[u8]| request_body(&route, &head, chunked(text, cuts));
    check(text, &asked(cuts), &asked(&[]), Direction::Request);
}

fn head() -> Parts {
    let request =
        Request::post("/v1/messages").header("host", OWN).header("content-type", "application/json");
    request.body(()).unwrap().into_parts().0
}

fn request_body(route: &Route, head: &Parts, body: Body) -> Vec<u8> {
    text_of(rewriter().request_body(route, head, body))
}

fn check(text: &[u8], cut: &[u8], whole: &[u8], direction: Direction) {
    assert_eq!(shown(cut), shown(whole), "{direction:?}: the cuts of {} show", shown(text));
    let Ok(document) = serde_json::from_slice::<Tree>(text) else {
        let lower = text.to_ascii_lowercase();
        let holds = |word: &str| lower.windows(word.len()).any(|window| window == word.as_bytes());
        if ![API, LEGACY, "localhost", "\\"].iter().any(|word| holds(word)) {
            assert_eq!(shown(whole), shown(text), "{direction:?}: no URL of ours stands there");
        }
        return;
    };
    let expected = direction.edit_document(document.clone());
    if expected == document {
        assert_eq!(shown(whole), shown(text), "{direction:?}: nothing was to be edited");
    }
    let found: Tree = serde_json::from_slice(whole).unwrap();
    assert_eq!(found, expected, "{direction:?} of {}", shown(text));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Answer,
    Request,
}

impl Direction {
    fn edit_document(self, document: Tree) -> Tree {
        let Tree::Object(members) = document else { return document };
        let edit = |(key, value): (String, Tree)| {
            let value = match (key.as_str(), self, value) {
                ("files", _, value) => self.edit_files(value),
                ("items", Self::Answer, Tree::Array(items)) => {
                    Tree::Array(items.into_iter().map(|item| self.edit_item(item)).collect())
                }
                (_, _, value) => value,
            };
            (key, value)
        };
        Tree::Object(members.into_iter().map(edit).collect())
    }

    fn edit_item(self, item: Tree) -> Tree {
        let Tree::Object(members) = item else { return item };
        let edit = |(key, value): (String, Tree)| {
            let value = if key == "files" { self.edit_files(value) } else { value };
            (key, value)
        };
        Tree::Object(members.into_iter().map(edit).collect())
    }

    fn edit_files(self, files: Tree) -> Tree {
        let Tree::Array(files) = files else { return files };
        let edit = |file| match file {
            Tree::Text(url) => Tree::Text(self.edit_url(&url).unwrap_or(url)),
            other => other,
        };
        Tree::Array(files.into_iter().map(edit).collect())
    }

    fn edit_url(self, url: &str) -> Option<String> {
        let (scheme, rest) = url.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#'])?);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, "")) => (host, None),
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port.parse().ok()),
            Some(_) => return None,
            None => (authority, None),
        };
        let is_stated = authority.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty());
        if is_stated && port.is_none() {
            return None;
        }
        let (known, default, hosts, tails, to) = match self {
            Self::Answer => {
                ("https", 443_u16, &[API, LEGACY][..], &["/v1/contents/"][..], "http://localhost:8080")
            }
            Self::Request => (
                "http",
                80,
                &["localhost"][..],
                &["/v1/contents/", "/contents/"][..],
                "https://webexapis.com",
            ),
        };
        let wanted = if self == Self::Request { 8080 } else { default };
        let is_known = scheme.eq_ignore_ascii_case(known)
            && hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
            && port.unwrap_or(default) == wanted
            && tails.iter().any(|tail| path.starts_with(tail));
        is_known.then(|| format!("{to}{path}"))
    }
}

/// A JSON value that keeps the order of its members and all of those with the same name.
#[derive(Debug, Clone, PartialEq)]
enum Tree {
    Array(Vec<Self>),
    Number(f64),
    Object(Vec<(String, Self)>),
    Text(String),
    Word(Option<bool>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Word(Some(value)))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Word(None))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Number(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Tree, E> {
        value.to_string().parse().map(Tree::Number).map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Tree, E> {
        value.to_string().parse().map(Tree::Number).map_err(E::custom)
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            values.push(value);
        }
        Ok(Tree::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Tree::Object(members))
    }
}

/// A body that comes in chunks of these lengths, over and over; without any: at once.
fn chunked(text: &[u8], cuts: &[u8]) -> Body {
    let mut rest = Bytes::copy_from_slice(text);
    let mut chunks = VecDeque::new();
    let mut lengths = cuts.iter().map(|cut| usize::from(*cut).max(1)).cycle();
    while !rest.is_empty() {
        let length = lengths.next().unwrap_or(rest.len()).min(rest.len());
        chunks.push_back(rest.split_to(length));
    }
    Body::stream(Chunks(chunks))
}

struct Chunks(VecDeque<Bytes>);

impl HttpBody for Chunks {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.0.pop_front().map(|chunk| Ok(Frame::data(chunk))))
    }
}

/// All of a body that never waits.
fn text_of(body: Body) -> Vec<u8> {
    let mut collecting = pin!(body.collect());
    match collecting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(body) => body.unwrap().to_bytes().to_vec(),
        Poll::Pending => panic!("the body waits for nothing"),
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

const OWN: &str = "localhost:8080";
