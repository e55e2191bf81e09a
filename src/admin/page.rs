//! Decides what the page is made of, and what its browser may do with it: nothing but this page and our own stream.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Response, header};

use crate::body::Body;

/// The page as it is sent: one file, with its style and script inside.
#[derive(Debug)]
pub(super) struct Page {
    html: Bytes,
    policy: HeaderValue,
}

impl Page {
    pub(super) fn new() -> Self {
        let html = HTML.replacen("/*style*/", STYLE, 1).replacen("/*script*/", SCRIPT, 1);
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
            source(SCRIPT),
            source(STYLE),
        );
        // A hash is ASCII; without it, a browser would run nothing at all.
        let policy = HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
        Self { html: html.into(), policy }
    }

    pub(super) fn response(&self) -> Response<Body> {
        let mut response = super::of_type("text/html; charset=utf-8", Body::whole(self.html.clone()));
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, self.policy.clone());
        response
    }
}

/// CSP 3 §2.3.1: what is allowed is this text and no other.
fn source(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes())))
}

const HTML: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_policy_allows_is_what_the_page_contains() {
        let page = Page::new();
        let html = String::from_utf8(page.html.to_vec()).unwrap();
        for (open, close) in [("<script>", "</script>"), ("<style>", "</style>")] {
            let (_, rest) = html.split_once(open).unwrap();
            let (inner, rest) = rest.split_once(close).unwrap();
            assert!(!rest.contains(open), "one {open}");
            assert!(page.policy.to_str().unwrap().contains(&source(inner)), "{open}");
        }
    }

    #[test]
    fn the_page_asks_for_nothing_from_elsewhere() {
        for text in [HTML, STYLE, SCRIPT] {
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for word in [
                "http:",
                "https:",
                "@import",
                "url(",
                " style=",
                " onclick=",
                " onload=",
                "innerHTML",
                "eval(",
            ] {
                assert!(!text.contains(word), "{word}");
            }
        }
    }
}
