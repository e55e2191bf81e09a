//! The upstream's HTTP/1.1, written by hand so that every byte can be wrong, late or missing.

use bytes::{Buf, Bytes, BytesMut};
use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::book::{Book, Check, Said, Turn};
use super::table::{End, Fault, Framing, Kind, Parting, Stage};
use super::upstream::{DROP, STALL, Tls};

/// Answers requests until the connection ends.
pub(super) async fn serve(tls: Tls, book: &Book) {
    let mut wire = Wire { tls, read: BytesMut::new() };
    while let Some(head) = wire.head().await {
        let Some(turn) = book.begin(&head.path, &head.method) else { return };
        let check = Check::new(&turn);
        let exchange = Exchange { wire, book, turn, head, check };
        match exchange.run().await {
            Some(back) => wire = back,
            None => return,
        }
    }
}

struct Wire {
    tls: Tls,
    read: BytesMut,
}

struct Head {
    method: Method,
    path: String,
    length: Length,
}

#[derive(Clone, Copy)]
enum Length {
    Bytes(usize),
    Chunked,
}

impl Wire {
    /// More bytes, or none if there will be none.
    async fn fill(&mut self) -> Option<()> {
        match self.tls.read_buf(&mut self.read).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }

    async fn head(&mut self) -> Option<Head> {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            self.fill().await?;
        };
        let text = String::from_utf8(self.read.split_to(end + 4).to_vec()).unwrap();
        let mut lines = text.lines();
        let mut words = lines.next()?.split(' ');
        let method = Method::from_bytes(words.next()?.as_bytes()).unwrap();
        let path = words.next()?.to_owned();
        let mut length = Length::Bytes(0);
        for line in lines {
            let (name, value) = line.split_once(':').unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = Length::Bytes(value.trim().parse().unwrap()),
                "transfer-encoding" => length = Length::Chunked,
                _ => {}
            }
        }
        Some(Head { method, path, length })
    }

    /// Reads the body, or so many bytes of it; none if it broke off.
    async fn body(&mut self, length: Length, limit: usize, check: &mut Check) -> Option<()> {
        match length {
            Length::Bytes(bytes) => self.data(bytes.min(limit), check).await,
            Length::Chunked => loop {
                let line = self.line().await?;
                let size = usize::from_str_radix(line.trim(), 16).unwrap();
                self.data(size, check).await?;
                if check.seen() >= limit && size > 0 {
                    return Some(());
                }
                self.line().await?;
                if size == 0 {
                    return Some(());
                }
            },
        }
    }

    async fn data(&mut self, mut left: usize, check: &mut Check) -> Option<()> {
        while left > 0 {
            if self.read.is_empty() {
                self.fill().await?;
            }
            let part = left.min(self.read.len());
            check.feed(&self.read[..part]);
            self.read.advance(part);
            left -= part;
        }
        Some(())
    }

    async fn line(&mut self) -> Option<String> {
        let end = loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                break end;
            }
            self.fill().await?;
        };
        Some(String::from_utf8(self.read.split_to(end + 1).to_vec()).unwrap())
    }

    async fn write(&mut self, bytes: &[u8]) -> Option<()> {
        self.tls.write_all(bytes).await.ok()?;
        self.tls.flush().await.ok()
    }

    async fn end(mut self, end: End) {
        match end {
            End::Reset => self.tls.get_ref().0.set_zero_linger().unwrap(),
            End::Close => drop(self.tls.shutdown().await),
            End::HalfClose => {
                drop(self.tls.shutdown().await);
                let reading = async { while self.fill().await.is_some() {} };
                drop(timeout(STALL, reading).await);
            }
            End::Stall => sleep(STALL).await,
            End::Cut | End::CutFrame | End::Freeze | End::Rst(_) => {}
        }
    }
}

struct Exchange<'a> {
    wire: Wire,
    book: &'a Book,
    turn: Turn,
    head: Head,
    check: Check,
}

impl Exchange<'_> {
    /// The wire, if it can carry another exchange.
    async fn run(mut self) -> Option<Wire> {
        match self.turn.fault {
            Fault::Break(Stage::Head, end) => return self.end(end).await,
            Fault::Break(Stage::MidBody, end) => {
                let half = self.turn.case.body.len() / 2;
                if half > 0 {
                    self.wire.body(self.head.length, half, &mut self.check).await?;
                }
                return self.end(end).await;
            }
            Fault::Early(status, parting) => return self.early(status, parting).await,
            _ => {}
        }
        self.wire.body(self.head.length, usize::MAX, &mut self.check).await?;
        if let Fault::Says(status, wait) = self.turn.fault {
            let head = self.plain_head(status, wait, 2);
            self.book.say(&self.turn, Said::Whole(status));
            self.wire.write(&[head.as_bytes(), self.body_of(b"{}")].concat()).await?;
            return Some(self.wire);
        }
        self.book.apply(&self.turn, self.check.is_right());
        self.answer().await
    }

    async fn end(self, end: End) -> Option<Wire> {
        self.wire.end(end).await;
        None
    }

    fn body_of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        if self.turn.method == Method::HEAD { b"" } else { bytes }
    }

    fn plain_head(&self, status: u16, wait: Option<&str>, length: usize) -> String {
        let wait = wait.map(|wait| format!("retry-after: {wait}\r\n")).unwrap_or_default();
        let (id, attempt) = (self.turn.case.id, self.turn.attempt);
        format!(
            "HTTP/1.1 {status} Said\r\nx-case: {id}\r\nx-attempt: {attempt}\r\n\
             content-type: application/json\r\n{wait}content-length: {length}\r\n\r\n"
        )
    }

    async fn early(mut self, status: u16, parting: Parting) -> Option<Wire> {
        if status == 200 {
            // It says yes without having looked.
            self.book.apply(&self.turn, true);
        }
        let wait = (status == 429).then_some("1");
        let head = self.plain_head(status, wait, 2);
        self.book.say(&self.turn, Said::Whole(status));
        self.wire.write(&[head.as_bytes(), self.body_of(b"{}")].concat()).await?;
        match parting {
            Parting::Leaves => None,
            Parting::Keeps => {
                self.wire.body(self.head.length, usize::MAX, &mut self.check).await?;
                Some(self.wire)
            }
        }
    }

    /// The good answer, unless the fault says otherwise.
    async fn answer(mut self) -> Option<Wire> {
        let (stage, end) = match self.turn.fault {
            Fault::Break(stage, end) => (Some(stage), end),
            _ => (None, End::Cut),
        };
        let answer = self.turn.case.answer(self.turn.attempt);
        let framing = self.framing();
        let head = self.head_of(framing, answer.len());
        match stage {
            Some(Stage::Done) => return self.end(end).await,
            Some(Stage::Status) => {
                self.wire.write(b"HTTP/1.1 2").await?;
                return self.end(end).await;
            }
            _ => {}
        }
        if let Fault::Interim(status) = self.turn.fault {
            self.wire.write(format!("HTTP/1.1 {status} Wait\r\n\r\n").as_bytes()).await?;
        }
        self.book.say(&self.turn, self.said_by_part());
        self.wire.write(head.as_bytes()).await?;
        let body = if self.turn.method == Method::HEAD { Bytes::new() } else { framed(&answer, framing) };
        match stage {
            Some(Stage::AnswerHead) => return self.end(end).await,
            Some(Stage::MidAnswer) => {
                self.wire.write(&body[..body.len() / 2]).await?;
                return self.end(end).await;
            }
            _ => {}
        }
        self.rest(&body, framing, stage.map(|_answered| end)).await
    }

    async fn rest(mut self, body: &[u8], framing: Framing, end: Option<End>) -> Option<Wire> {
        let is_head = self.turn.method == Method::HEAD;
        // Where the end of the connection is the end of the body, TLS has to say so.
        let is_told =
            framing != Framing::UntilClose || matches!(end, None | Some(End::Close | End::HalfClose));
        let whole = if is_told { Said::Whole(200) } else { self.said_by_part() };
        match self.turn.fault {
            Fault::Short if !is_head => {
                self.wire.write(&body[..body.len().saturating_sub(1)]).await?;
                return self.end(End::Close).await;
            }
            Fault::Long if !is_head => {
                self.book.say(&self.turn, whole);
                self.wire.write(&[body, b"!"].concat()).await?;
                return Some(self.wire);
            }
            Fault::Drip => {
                let pieces = body.chunks(body.len().div_ceil(6).max(1));
                let last = pieces.len();
                if last == 0 {
                    self.book.say(&self.turn, whole);
                }
                for (number, piece) in pieces.enumerate() {
                    sleep(DROP).await;
                    if number + 1 == last {
                        self.book.say(&self.turn, whole);
                    }
                    self.wire.write(piece).await?;
                }
            }
            _ => {
                // Before the bytes: the client may be quicker than this task.
                self.book.say(&self.turn, whole);
                self.wire.write(body).await?;
            }
        }
        match (end, framing) {
            (Some(end), _) => self.end(end).await,
            (None, Framing::UntilClose) => self.end(End::Close).await,
            (None, Framing::Length | Framing::Chunked) => Some(self.wire),
        }
    }

    /// What the client may take the answer for while it is not written to its end.
    fn said_by_part(&self) -> Said {
        let is_head = self.turn.method == Method::HEAD;
        let is_empty =
            self.framing() == Framing::Length && self.turn.case.answer(self.turn.attempt).is_empty();
        if is_head || is_empty { Said::Whole(200) } else { Said::Part(200) }
    }

    fn framing(&self) -> Framing {
        match (self.turn.fault, self.turn.case.framing) {
            // What must be too short or too long needs a length.
            (Fault::Short | Fault::Long, _) => Framing::Length,
            // A clean goodbye would be a clean end.
            (Fault::Break(_, End::Close | End::HalfClose), Framing::UntilClose) => Framing::Chunked,
            (_, framing) => framing,
        }
    }

    fn head_of(&self, framing: Framing, length: usize) -> String {
        let Turn { case, attempt, .. } = &self.turn;
        let kind = match case.kind {
            Kind::Json => "application/json",
            Kind::Content => "application/octet-stream",
        };
        let keep =
            if case.is_fresh && case.kind == Kind::Json { "cache-control: max-age=60\r\n" } else { "" };
        let framing = match framing {
            Framing::Length => format!("content-length: {length}\r\n"),
            Framing::Chunked => "transfer-encoding: chunked\r\n".to_owned(),
            Framing::UntilClose => "connection: close\r\n".to_owned(),
        };
        let id = case.id;
        format!(
            "HTTP/1.1 200 OK\r\nx-case: {id}\r\nx-attempt: {attempt}\r\ncontent-type: {kind}\r\n\
             {keep}{framing}\r\n"
        )
    }
}

fn framed(body: &Bytes, framing: Framing) -> Bytes {
    if framing != Framing::Chunked {
        return body.clone();
    }
    let mut all = Vec::new();
    for chunk in body.chunks(10_000) {
        all.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        all.extend(chunk);
        all.extend(b"\r\n");
    }
    all.extend(b"0\r\n\r\n");
    all.into()
}
