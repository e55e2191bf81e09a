//! Decides what goes wrong: every fault, and the cases made of them by a seed.

use bytes::Bytes;
use http::Method;

/// What the upstream does to a request, or to the connection that it comes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Fault {
    None,
    /// Before there is a request. The connections that were open are closed first.
    Door(Door),
    /// The exchange ends at this point, in this way.
    Break(Stage, End),
    /// One byte less than announced, and the end of the connection or stream.
    Short,
    /// One byte more than announced.
    Long,
    /// An answer before the request's body was read.
    Early(u16, Parting),
    /// An interim answer first.
    Interim(u16),
    /// The answer comes in small pieces, each in time.
    Drip,
    /// The whole request is read, and refused.
    Says(u16, Option<&'static str>),
    /// HTTP/2: the connection is to end.
    GoAway(GoAway),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Door {
    Refused,
    ResetAtOnce,
    SilentBeforeTls,
    Garbage,
    CloseAfterHello,
    ResetAfterHello,
    Stranger,
    CloseAfterHandshake,
    ResetAfterHandshake,
    SilentAfterHandshake,
    /// HTTP/2: so many streams at once.
    Streams(u32),
    /// HTTP/2: the window of a stream is never opened.
    Window,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// The head is read, the body is not.
    Head,
    /// Half of the body is read.
    MidBody,
    /// All is read, and done; no byte is answered.
    Done,
    /// Half of the status line is written.
    Status,
    /// The head is written.
    AnswerHead,
    /// Half of the answer's body is written.
    MidAnswer,
    /// The answer is whole; the connection seems to stay.
    Answered,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum End {
    /// TCP RST.
    Reset,
    /// TLS goodbye and FIN.
    Close,
    /// FIN without TLS goodbye.
    Cut,
    /// The upstream says goodbye but reads on.
    HalfClose,
    /// Nothing more, for longer than anybody waits.
    Stall,
    /// HTTP/2: the stream ends with this code.
    Rst(u32),
    /// HTTP/2: the connection ends in the middle of a frame.
    CutFrame,
    /// HTTP/2: the connection stays, and nothing moves on it.
    Freeze,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Parting {
    /// The body is read after all.
    Keeps,
    /// HTTP/1: the connection is closed over unread bytes. HTTP/2: RST_STREAM NO_ERROR.
    Leaves,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum GoAway {
    /// The request is beyond the last one taken: nothing was done.
    Below,
    /// The same with ENHANCE_YOUR_CALM.
    CalmBelow,
    /// It is the last one, and answered.
    At,
    /// It is the last one, done, and the connection goes without an answer.
    ThenCut,
    /// The same with ENHANCE_YOUR_CALM.
    CalmThenCut,
    /// The end is announced, and the request answered.
    Above,
}

/// Which protocol a party speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Version {
    H1,
    H2,
}

/// How the end of an answer is told on HTTP/1.1; on HTTP/2 only `Length` matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length,
    Chunked,
    UntilClose,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Content,
}

/// One request and its misfortune.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) id: u64,
    pub(super) fault: Fault,
    /// So many attempts meet the fault.
    pub(super) times: u32,
    pub(super) method: Method,
    pub(super) kind: Kind,
    pub(super) body: Bytes,
    /// Whether the client announces the body's length.
    pub(super) is_announced: bool,
    pub(super) client: Version,
    pub(super) framing: Framing,
    pub(super) answer_bytes: usize,
    /// Whether the answer may be kept.
    pub(super) is_fresh: bool,
    /// Equal requests at the same time.
    pub(super) at_once: usize,
}

impl Case {
    /// A request that nothing happens to.
    pub(super) fn plain(id: u64, method: Method, client: Version) -> Self {
        let body = if method == Method::POST { pattern(id, 300) } else { Bytes::new() };
        Self {
            id,
            fault: Fault::None,
            times: 0,
            method,
            kind: Kind::Json,
            body,
            is_announced: true,
            client,
            framing: Framing::Length,
            answer_bytes: 300,
            is_fresh: false,
            at_once: 1,
        }
    }

    /// The case of this number; the same seed makes the same case.
    pub(super) fn drawn(seed: u64, number: u64, fault: Fault) -> Self {
        let mut dice = Dice::new(seed, number);
        // Nothing is early without a body.
        let methods = if matches!(fault, Fault::Early(..)) { &METHODS[2..] } else { &METHODS };
        let method = dice.pick(methods).clone();
        let is_read = matches!(method, Method::GET | Method::HEAD);
        let bytes = if is_read { 0 } else { *dice.pick(&BODY_BYTES) };
        // A few of them: they cost as much as all others together.
        let bytes = if bytes == 1_000_000 && dice.below(12) == 0 { 10_000_000 } else { bytes };
        let kind = if is_read && dice.below(2) == 0 { Kind::Content } else { Kind::Json };
        Self {
            id: number * 4,
            fault,
            times: *dice.pick(&[1, 1, 2, 99]),
            kind,
            body: pattern(number * 4, bytes),
            is_announced: dice.below(4) > 0,
            client: *dice.pick(&[Version::H1, Version::H2]),
            framing: *dice.pick(&[Framing::Length, Framing::Chunked, Framing::UntilClose]),
            answer_bytes: *dice.pick(&[0, 1, 300, 20_000, 65_537, 300_000]),
            is_fresh: dice.below(2) == 0,
            at_once: if method == Method::GET && dice.below(3) == 0 { 4 } else { 1 },
            method,
        }
    }

    pub(super) fn is_write(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD)
    }

    pub(super) fn path(&self) -> String {
        match self.kind {
            Kind::Json => format!("/v1/rooms/{}", self.id),
            Kind::Content => format!("/v1/contents/{}", self.id),
        }
    }

    /// What the upstream answers to this attempt, if it answers well.
    pub(super) fn answer(&self, attempt: usize) -> Bytes {
        let bytes = pattern(!self.id, self.answer_bytes);
        match self.kind {
            // The bytes of a content never change.
            Kind::Content => bytes,
            Kind::Json => {
                let pad: String = bytes.iter().map(|byte| char::from(b'a' + byte % 26)).collect();
                format!(r#"{{"id":"{}.{attempt}","pad":"{pad}"}}"#, self.id).into()
            }
        }
    }
}

/// Bytes that belong to nobody else: every 4 KiB of them carry their place.
pub(super) fn pattern(seed: u64, bytes: usize) -> Bytes {
    let mut dice = Dice::new(seed, 0x0070_6174);
    let block: Vec<u8> = (0..512).flat_map(|_| dice.next().to_le_bytes()).collect();
    let mut all = Vec::with_capacity(bytes + block.len());
    for place in 0_u64.. {
        if all.len() >= bytes {
            break;
        }
        let start = all.len();
        all.extend_from_slice(&block);
        all[start + 8..start + 16].copy_from_slice(&place.to_le_bytes());
    }
    all.truncate(bytes);
    all.into()
}

/// Every fault that an upstream of this version can have.
pub(super) fn faults(upstream: Version) -> Vec<Fault> {
    use End::{Close, Cut, CutFrame, Freeze, HalfClose, Reset, Rst, Stall};
    use Stage::{AnswerHead, Answered, Done, Head, MidAnswer, MidBody, Status};
    let mut faults = vec![Fault::None, Fault::Short, Fault::Long, Fault::Drip];
    faults.extend(DOORS.map(Fault::Door));
    faults.extend([100, 102, 103].map(Fault::Interim));
    for status in [200, 413, 429, 503] {
        faults.extend([Parting::Keeps, Parting::Leaves].map(|parting| Fault::Early(status, parting)));
    }
    faults.extend(REFUSALS.map(|(status, wait)| Fault::Says(status, wait)));
    let (stages, ends): (&[Stage], &[End]) = match upstream {
        Version::H1 => (
            &[Head, MidBody, Done, Status, AnswerHead, MidAnswer, Answered],
            &[Reset, Close, Cut, HalfClose, Stall],
        ),
        Version::H2 => (
            &[Head, MidBody, Done, AnswerHead, MidAnswer, Answered],
            // NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, CANCEL, ENHANCE_YOUR_CALM
            &[Reset, Cut, CutFrame, Stall, Freeze, Rst(0), Rst(1), Rst(2), Rst(8), Rst(11)],
        ),
    };
    faults.extend(stages.iter().flat_map(|stage| ends.iter().map(|end| Fault::Break(*stage, *end))));
    if upstream == Version::H2 {
        use GoAway::{Above, At, Below, CalmBelow, CalmThenCut, ThenCut};
        faults.extend([Below, CalmBelow, At, ThenCut, CalmThenCut, Above].map(Fault::GoAway));
        faults.extend([Door::Streams(0), Door::Streams(1), Door::Window].map(Fault::Door));
        // REFUSED_STREAM says that nothing was done, so only before that.
        faults.extend([Head, MidBody].map(|stage| Fault::Break(stage, Rst(7))));
    }
    faults
}

/// Numbers from a seed (splitmix64).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64, number: u64) -> Self {
        Self(seed.rotate_left(17) ^ number.wrapping_mul(0xd134_2543_de82_ef95))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

const METHODS: [Method; 6] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
/// Nothing, little, the most that waits in memory, one more, an upload.
const BODY_BYTES: [usize; 6] = [0, 1, 200, 65_536, 65_537, 1_000_000];
const DOORS: [Door; 10] = [
    Door::Refused,
    Door::ResetAtOnce,
    Door::SilentBeforeTls,
    Door::Garbage,
    Door::CloseAfterHello,
    Door::ResetAfterHello,
    Door::Stranger,
    Door::CloseAfterHandshake,
    Door::ResetAfterHandshake,
    Door::SilentAfterHandshake,
];
const REFUSALS: [(u16, Option<&str>); 15] = [
    (500, None),
    (502, None),
    (503, None),
    (504, None),
    (503, Some("1")),
    (503, Some("soon")),
    (502, Some("1")),
    (423, Some("1")),
    (429, None),
    (429, Some("1")),
    (429, Some("0.2")),
    (429, Some("rand(30),add(30)")),
    (429, Some("18446744073709551615")),
    (429, Some("-1")),
    (429, Some("Fri, 31 Dec 1999 23:59:59 GMT")),
];
