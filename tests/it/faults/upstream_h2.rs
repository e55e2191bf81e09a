//! The upstream's HTTP/2: the h2 crate's server, over a line that can lie and die.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Response};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::book::{Book, Check, Said, Turn};
use super::table::{Door, End, Fault, GoAway, Kind, Parting, Stage};
use super::tamper::{Line, Tampered};
use super::upstream::{DROP, STALL, Tls};

/// Answers requests until the connection ends.
pub(super) async fn serve(tls: Tls, book: &Arc<Book>, door: Option<Door>) {
    let (io, line) = Tampered::new(tls);
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(1_000).initial_connection_window_size(4_000_000);
    let builder = match door {
        Some(Door::Streams(most)) => builder.max_concurrent_streams(most),
        Some(Door::Window) => builder.initial_window_size(0),
        _ => builder.initial_window_size(1_000_000),
    };
    let Ok(mut connection) = builder.handshake::<_, Bytes>(io).await else { return };
    let shared = Arc::new(Shared { line: line.clone(), taken: Mutex::new(Taken { last: 0, beyond: None }) });
    let opens = door != Some(Door::Window);
    // The set ends its tasks with the connection.
    let mut streams = JoinSet::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (parts, body) = request.into_parts();
        let Some(turn) = book.begin(parts.uri.path(), &parts.method) else { continue };
        let check = Check::new(&turn);
        let (shared, book) = (Arc::clone(&shared), Arc::clone(book));
        let exchange = Exchange { shared, book, turn, body, respond, check, opens };
        streams.spawn(exchange.run());
    }
    line.end(End::Cut);
}

/// What the streams of one connection share.
struct Shared {
    line: Line,
    taken: Mutex<Taken>,
}

/// Which streams the upstream acts on: an honest GOAWAY names the last of them.
struct Taken {
    last: u32,
    beyond: Option<u32>,
}

impl Shared {
    /// Whether this stream may have an effect.
    fn take(&self, stream: u32) -> bool {
        let mut taken = self.taken.lock().unwrap();
        if self.line.is_over() || taken.beyond.is_some_and(|last| stream > last) {
            return false;
        }
        taken.last = taken.last.max(stream);
        true
    }

    /// Says that nothing after the last stream with an effect will have one. False if this stream is not after it.
    fn leave_below(&self, stream: u32, code: u32) -> bool {
        let mut taken = self.taken.lock().unwrap();
        if taken.last >= stream {
            return false;
        }
        taken.beyond = Some(taken.last);
        self.line.inject(&go_away(taken.last, code));
        true
    }

    fn leave_at(&self, stream: u32, code: u32) {
        let mut taken = self.taken.lock().unwrap();
        let last = taken.last.max(stream);
        taken.beyond = Some(last);
        self.line.inject(&go_away(last, code));
    }
}

fn go_away(last: u32, code: u32) -> Vec<u8> {
    let head = [0, 0, 8, 7, 0, 0, 0, 0, 0];
    [&head[..], &last.to_be_bytes(), &code.to_be_bytes()].concat()
}

struct Exchange {
    shared: Arc<Shared>,
    book: Arc<Book>,
    turn: Turn,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    check: Check,
    opens: bool,
}

impl Exchange {
    async fn run(mut self) {
        match self.turn.fault {
            Fault::Break(Stage::Head, end) => return self.end(end, None).await,
            Fault::Break(Stage::MidBody, end) => {
                let half = self.turn.case.body.len() / 2;
                if half > 0 && self.read(half).await.is_none() {
                    return;
                }
                return self.end(end, None).await;
            }
            Fault::Early(status, parting) => return self.early(status, parting).await,
            _ => {}
        }
        if self.read(usize::MAX).await.is_none() {
            return;
        }
        match self.turn.fault {
            Fault::Says(status, wait) => return self.says(status, wait, false).await,
            Fault::GoAway(GoAway::Below) if self.shared.leave_below(self.stream(), 0) => return,
            Fault::GoAway(GoAway::CalmBelow) if self.shared.leave_below(self.stream(), 11) => return,
            _ => {}
        }
        let stream = self.stream();
        if !self.shared.take(stream) {
            return;
        }
        self.book.apply(&self.turn, self.check.is_right());
        match self.turn.fault {
            Fault::GoAway(GoAway::At) => self.shared.leave_at(stream, 0),
            Fault::GoAway(GoAway::Above) => self.shared.line.inject(&go_away(0x7fff_ffff, 0)),
            Fault::GoAway(how @ (GoAway::ThenCut | GoAway::CalmThenCut)) => {
                self.shared.leave_at(stream, if how == GoAway::ThenCut { 0 } else { 11 });
                sleep(DROP).await;
                return self.shared.line.end(End::Cut);
            }
            _ => {}
        }
        let _answered = self.answer().await;
    }

    fn stream(&self) -> u32 {
        self.respond.stream_id().as_u32()
    }

    /// The body, or so many bytes of it; none if it broke off.
    async fn read(&mut self, limit: usize) -> Option<()> {
        while self.check.seen() < limit {
            match poll_fn(|cx| self.body.poll_data(cx)).await {
                Some(Ok(data)) => {
                    self.check.feed(&data);
                    if self.opens {
                        self.body.flow_control().release_capacity(data.len()).ok()?;
                    }
                }
                Some(Err(_)) => return None,
                None => return Some(()),
            }
        }
        Some(())
    }

    async fn end(mut self, end: End, stream: Option<SendStream<Bytes>>) {
        match end {
            End::Rst(code) => match stream {
                Some(mut stream) => stream.send_reset(Reason::from(code)),
                None => self.respond.send_reset(Reason::from(code)),
            },
            End::Stall => sleep(STALL).await,
            End::CutFrame => {
                self.shared.line.cut_in(5);
                // What is cut in two: the head of a frame that nobody needs.
                self.shared.line.inject(&[]);
                let head = Response::builder().status(200).body(()).unwrap();
                if stream.is_none() {
                    drop(self.respond.send_response(head, false));
                }
                sleep(DROP).await;
                self.shared.line.end(End::Cut);
            }
            end => {
                // What was sent before goes out first.
                sleep(DROP / 4).await;
                self.shared.line.end(end);
                if end == End::Freeze {
                    sleep(STALL).await;
                    self.shared.line.end(End::Cut);
                }
            }
        }
    }

    fn head(&self, status: u16) -> http::response::Builder {
        let kind = match self.turn.case.kind {
            Kind::Json => "application/json",
            Kind::Content => "application/octet-stream",
        };
        Response::builder()
            .status(status)
            .header("x-case", self.turn.case.id)
            .header("x-attempt", self.turn.attempt)
            .header("content-type", kind)
    }

    async fn says(&mut self, status: u16, wait: Option<&str>, leaves: bool) {
        let mut head = self.head(status).header("content-length", 2);
        if let Some(wait) = wait {
            head = head.header("retry-after", wait);
        }
        let is_head = self.turn.method == Method::HEAD;
        self.book.say(&self.turn, Said::Whole(status));
        let Ok(mut stream) = self.respond.send_response(head.body(()).unwrap(), is_head) else { return };
        if !is_head {
            drop(stream.send_data(Bytes::from_static(b"{}"), true));
        }
        if leaves {
            // The h2 crate would drop what is not yet written.
            sleep(DROP / 2).await;
            stream.send_reset(Reason::NO_ERROR);
        }
    }

    async fn early(mut self, status: u16, parting: Parting) {
        if status == 200 {
            if !self.shared.take(self.stream()) {
                return;
            }
            // It says yes without having looked.
            self.book.apply(&self.turn, true);
        }
        let leaves = parting == Parting::Leaves && !self.turn.case.body.is_empty();
        self.says(status, (status == 429).then_some("1"), leaves).await;
        if !leaves {
            self.read(usize::MAX).await;
        }
    }

    /// The good answer, unless the fault says otherwise.
    async fn answer(mut self) -> Option<()> {
        let (stage, end) = match self.turn.fault {
            Fault::Break(stage, end) => (Some(stage), end),
            _ => (None, End::Cut),
        };
        if stage == Some(Stage::Done) {
            self.end(end, None).await;
            return None;
        }
        if let Fault::Interim(status) = self.turn.fault {
            let interim = Response::builder().status(status).body(()).unwrap();
            self.respond.send_informational(interim).ok()?;
        }
        let body = self.turn.case.answer(self.turn.attempt);
        let is_announced =
            self.turn.case.is_announced || matches!(self.turn.fault, Fault::Short | Fault::Long);
        let is_head = self.turn.method == Method::HEAD;
        let mut head = self.head(200);
        if is_announced {
            head = head.header("content-length", body.len());
        }
        if self.turn.case.is_fresh && self.turn.case.kind == Kind::Json {
            head = head.header("cache-control", "max-age=60");
        }
        // A HEAD's answer is whole without END_STREAM, and so is one of no bytes that says so.
        let is_whole = is_head || (is_announced && body.is_empty());
        self.book.say(&self.turn, if is_whole { Said::Whole(200) } else { Said::Part(200) });
        let is_over = is_head && stage.is_none();
        let mut stream = self.respond.send_response(head.body(()).unwrap(), is_over).ok()?;
        let half = body.len() / 2;
        match stage {
            Some(Stage::MidAnswer) => {
                self.send(&mut stream, body.slice(..half), false).await?;
                self.end(end, Some(stream)).await;
            }
            Some(Stage::AnswerHead) => self.end(end, Some(stream)).await,
            _ if is_over => {}
            _ => self.rest(stream, body, stage.map(|_answered| end)).await?,
        }
        Some(())
    }

    async fn rest(self, mut stream: SendStream<Bytes>, body: Bytes, end: Option<End>) -> Option<()> {
        let mut this = self;
        let is_head = this.turn.method == Method::HEAD;
        let body = if is_head { Bytes::new() } else { body };
        match this.turn.fault {
            Fault::Short if !is_head => {
                let short = body.slice(..body.len().saturating_sub(1));
                this.send(&mut stream, short, true).await?;
            }
            Fault::Long if !is_head => {
                this.send(&mut stream, [&body[..], b"!"].concat().into(), true).await?;
            }
            Fault::Drip => {
                for piece in body.chunks(body.len().div_ceil(6).max(1)) {
                    sleep(DROP).await;
                    this.send(&mut stream, Bytes::copy_from_slice(piece), false).await?;
                }
                this.book.say(&this.turn, Said::Whole(200));
                this.send(&mut stream, Bytes::new(), true).await?;
            }
            _ => {
                this.book.say(&this.turn, Said::Whole(200));
                this.send(&mut stream, body, true).await?;
            }
        }
        if let Some(end) = end {
            this.end(end, Some(stream)).await;
        }
        Some(())
    }

    async fn send(&mut self, stream: &mut SendStream<Bytes>, mut data: Bytes, is_last: bool) -> Option<()> {
        if data.is_empty() && is_last {
            return stream.send_data(data, true).ok();
        }
        while !data.is_empty() {
            stream.reserve_capacity(data.len());
            let room = poll_fn(|cx| stream.poll_capacity(cx)).await?.ok()?;
            let part = data.split_to(room.min(data.len()));
            stream.send_data(part, is_last && data.is_empty()).ok()?;
        }
        Some(())
    }
}
