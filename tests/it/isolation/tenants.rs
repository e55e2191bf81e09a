//! How a tenant asks, and how much of the answer it waits for.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Version};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout};
use tollgate::body::Body;
use tollgate::proxy::Proxy;
use tollgate::server::Arrival;
use tollgate::words::Scheme;

use super::oracle::{Asked, Told, What};
use super::vault::{self, Vault};

/// How it asks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Manner {
    Conditional(&'static str),
    Delete,
    Get,
    Head,
    NoCache,
    OnlyIfCached,
    Part,
}

impl Manner {
    /// Reads, the plain ones more often.
    pub(super) const READS: [Self; 14] = [
        Self::Get,
        Self::Get,
        Self::Get,
        Self::Get,
        Self::Get,
        Self::Get,
        Self::Head,
        Self::Head,
        Self::Part,
        Self::Part,
        Self::NoCache,
        Self::OnlyIfCached,
        Self::Conditional("\"one\""),
        Self::Conditional("\"other\""),
    ];

    fn field(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Conditional(tag) => Some(("if-none-match", tag)),
            Self::Delete | Self::Get | Self::Head => None,
            Self::NoCache => Some(("cache-control", "no-cache")),
            Self::OnlyIfCached => Some(("cache-control", "only-if-cached")),
            Self::Part => Some(("range", "bytes=10-1999")),
        }
    }
}

/// When it leaves.
#[derive(Debug, Clone, Copy)]
pub(super) enum Patience {
    Endless,
    /// If there is no head by then.
    Head(Duration),
    /// After so many pieces of the body.
    Pieces(usize),
}

/// Asks and reads; none if the tenant left before there was an answer.
pub(super) async fn ask(
    proxy: &Arc<Proxy<Vault>>,
    asked: &Asked,
    manner: Manner,
    patience: Patience,
) -> Option<Told> {
    let method = match manner {
        Manner::Head => "HEAD",
        Manner::Delete => "DELETE",
        _ => "GET",
    };
    let path = match (asked.what, manner) {
        (What::Own(content), Manner::Delete) => vault::message_path(content.parse().unwrap()),
        (What::Own(path), _) => path.to_owned(),
        (What::Content(content), _) => vault::path(content),
        (What::Queried(content), _) => format!("{}?allow=unscannable", vault::path(content)),
    };
    let token = format!("Bearer {}.{}", vault::name(asked.tenant), asked.token);
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    request = request.header("authorization", token);
    if let Some((name, value)) = manner.field() {
        request = request.header(name, value);
    }
    let peer = ([127, 0, 0, 1], 50_000).into();
    let arrival = Arrival { scheme: Scheme::Https, peer, version: Version::HTTP_11 };
    let answering = Arc::clone(proxy).answer(arrival, request.body(Body::empty()).unwrap());
    let response = match patience {
        Patience::Head(time) => timeout(time, answering).await.ok()?,
        Patience::Endless | Patience::Pieces(_) => answering.await,
    };
    let head_at = Instant::now();
    let (head, mut body) = response.into_parts();
    let (status, headers) = (head.status.as_u16(), head.headers);
    let mut told = Told { status, headers, trailers: None, body: Vec::new(), head_at, is_whole: false };
    let most = if let Patience::Pieces(pieces) = patience { pieces } else { usize::MAX };
    for _ in 0..most {
        match body.frame().await {
            Some(Ok(frame)) if frame.is_trailers() => told.trailers = frame.into_trailers().ok(),
            Some(Ok(frame)) => told.body.extend(frame.into_data().unwrap()),
            Some(Err(_)) => break,
            None => {
                told.is_whole = true;
                break;
            }
        }
    }
    Some(told)
}
