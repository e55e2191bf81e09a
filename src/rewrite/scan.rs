//! Decides where in a JSON text the strings stand that are looked for; reads bytes as they come, holds a key at most.

use memchr::memchr2;

use super::escape::{Decoded, LONGEST_ESCAPE};

/// Which paths are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paths {
    /// `$.files[*]` and `$.items[*].files[*]`.
    Answer,
    /// `$.errors.*.code` and `$.items[*].errors.*.code`.
    Failures,
    /// `$.files[*]`.
    Request,
}

/// What lies right behind the bytes that [`Scanner::advance`] took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// The text of a wanted string: its opening quote was taken.
    Opened,
    /// Whatever follows a wanted string: its closing quote was taken.
    Closed,
}

/// A push-down automaton that needs no stack: below the few places that matter it only counts brackets.
///
/// A text that breaks the grammar is no longer looked at. Numbers and words are not checked.
#[derive(Debug)]
pub(super) struct Scanner {
    paths: Paths,
    place: Place,
    step: Step,
    member: Member,
    key: Vec<u8>,
    depth: u64,
    is_escaped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Document,
    Top,
    TopFiles,
    Items,
    Item,
    ItemFiles,
    TopErrors,
    TopError,
    ItemErrors,
    ItemError,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Between(Expect),
    /// Nothing more is wanted, or the text is no JSON.
    Passing,
    Scalar,
    /// Inside a value that holds no wanted place, `depth` brackets deep.
    Skip,
    Text(Text),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Colon,
    CommaOrEnd,
    Key,
    KeyOrEnd,
    Value,
    ValueOrEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Text {
    Key,
    Plain,
    Skipped,
    Wanted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Code,
    Errors,
    Files,
    Items,
    Other,
}

impl Scanner {
    /// A scanner before the first byte of a document.
    pub(super) fn new(paths: Paths) -> Self {
        Self {
            paths,
            place: Place::Document,
            step: Step::Between(Expect::Value),
            member: Member::Other,
            key: Vec::with_capacity(LONGEST_KEY + 1),
            depth: 0,
            is_escaped: false,
        }
    }

    /// Takes bytes up to the next mark or to the end of `input`; the number taken.
    pub(super) fn advance(&mut self, input: &[u8]) -> (usize, Option<Mark>) {
        let mut at = 0;
        while let Some(rest @ [first, ..]) = input.get(at..) {
            let (taken, mark) = match self.step {
                Step::Between(expect) => (1, self.between(expect, *first)),
                Step::Passing => (rest.len(), None),
                Step::Scalar => (self.scalar(rest), None),
                Step::Skip => (self.skip(rest), None),
                Step::Text(text) => self.text(text, rest),
            };
            at += taken;
            if mark.is_some() {
                return (at, mark);
            }
        }
        (at, None)
    }

    fn between(&mut self, expect: Expect, byte: u8) -> Option<Mark> {
        use Expect::{Colon, CommaOrEnd, Key, KeyOrEnd, Value, ValueOrEnd};
        match (expect, byte) {
            (_, b' ' | b'\t' | b'\r' | b'\n') => {}
            (Value | ValueOrEnd, b'"') => return self.open_text(),
            (Value | ValueOrEnd, b'{') => self.descend(self.object().map(|place| (place, KeyOrEnd))),
            (Value | ValueOrEnd, b'[') => self.descend(self.array().map(|place| (place, ValueOrEnd))),
            (Value | ValueOrEnd, b'-' | b'0'..=b'9' | b'a'..=b'z') => self.step = Step::Scalar,
            // A byte order mark: RFC 8259 §8.1 lets parsers ignore it, and they do.
            (Value, 0xEF | 0xBB | 0xBF) if self.place == Place::Document => {}
            (Key | KeyOrEnd, b'"') => {
                self.key.clear();
                self.step = Step::Text(Text::Key);
            }
            (Colon, b':') => self.step = Step::Between(Value),
            (CommaOrEnd, b',') if self.place.is_object() => self.step = Step::Between(Key),
            (CommaOrEnd, b',') => self.step = Step::Between(Value),
            (KeyOrEnd, b'}') => self.ascend(),
            (ValueOrEnd, b']') => self.ascend(),
            (CommaOrEnd, b'}') if self.place.is_object() => self.ascend(),
            (CommaOrEnd, b']') if !self.place.is_object() => self.ascend(),
            _ => self.step = Step::Passing,
        }
        None
    }

    /// The place inside an object that begins here, if anything wanted can stand in it.
    fn object(&self) -> Option<Place> {
        let is_for_failures = self.paths == Paths::Failures;
        match (self.place, self.member) {
            (Place::Document, _) => Some(Place::Top),
            (Place::Items, _) => Some(Place::Item),
            (Place::Top, Member::Errors) if is_for_failures => Some(Place::TopErrors),
            (Place::Item, Member::Errors) if is_for_failures => Some(Place::ItemErrors),
            (Place::TopErrors, _) => Some(Place::TopError),
            (Place::ItemErrors, _) => Some(Place::ItemError),
            _ => None,
        }
    }

    /// The same for an array.
    fn array(&self) -> Option<Place> {
        let is_for_files = self.paths != Paths::Failures;
        match (self.place, self.member) {
            (Place::Top, Member::Items) if self.paths != Paths::Request => Some(Place::Items),
            (Place::Top, Member::Files) if is_for_files => Some(Place::TopFiles),
            (Place::Item, Member::Files) if is_for_files => Some(Place::ItemFiles),
            _ => None,
        }
    }

    fn open_text(&mut self) -> Option<Mark> {
        let is_wanted = match self.place {
            Place::TopFiles | Place::ItemFiles => true,
            Place::TopError | Place::ItemError => self.member == Member::Code,
            _ => false,
        };
        self.step = Step::Text(if is_wanted { Text::Wanted } else { Text::Plain });
        is_wanted.then_some(Mark::Opened)
    }

    fn descend(&mut self, into: Option<(Place, Expect)>) {
        if let Some((place, expect)) = into {
            self.place = place;
            self.step = Step::Between(expect);
        } else {
            self.depth = 1;
            self.step = Step::Skip;
        }
    }

    fn ascend(&mut self) {
        self.place = match self.place {
            Place::Document | Place::Top => Place::Document,
            Place::TopErrors | Place::TopFiles | Place::Items => Place::Top,
            Place::TopError => Place::TopErrors,
            Place::Item => Place::Items,
            Place::ItemErrors | Place::ItemFiles => Place::Item,
            Place::ItemError => Place::ItemErrors,
        };
        self.after_value();
    }

    fn after_value(&mut self) {
        let is_over = self.place == Place::Document;
        self.step = if is_over { Step::Passing } else { Step::Between(Expect::CommaOrEnd) };
    }

    fn scalar(&mut self, rest: &[u8]) -> usize {
        let end =
            rest.iter().position(|byte| !matches!(byte, b'+' | b'-' | b'.') && !byte.is_ascii_alphanumeric());
        if end.is_some() {
            self.after_value();
        }
        end.unwrap_or(rest.len())
    }

    fn skip(&mut self, rest: &[u8]) -> usize {
        for (at, byte) in rest.iter().enumerate() {
            match byte {
                b'"' => {
                    self.step = Step::Text(Text::Skipped);
                    return at + 1;
                }
                b'[' | b'{' => self.depth += 1,
                b']' | b'}' => self.depth -= 1,
                _ => {}
            }
            if self.depth == 0 {
                self.after_value();
                return at + 1;
            }
        }
        rest.len()
    }

    fn text(&mut self, text: Text, rest: &[u8]) -> (usize, Option<Mark>) {
        let (taken, is_closed) = if std::mem::take(&mut self.is_escaped) {
            (1, false)
        } else {
            match memchr2(b'"', b'\\', rest) {
                None => (rest.len(), false),
                Some(at) => {
                    self.is_escaped = rest.get(at) == Some(&b'\\');
                    (at + 1, !self.is_escaped)
                }
            }
        };
        if text == Text::Key {
            // One byte more than the longest spelling is kept, so that a longer key is not taken for its beginning.
            let length = taken - usize::from(is_closed);
            let room = LONGEST_KEY + 1 - self.key.len();
            self.key.extend(rest.iter().take(length.min(room)));
        }
        (taken, if is_closed { self.close_text(text) } else { None })
    }

    fn close_text(&mut self, text: Text) -> Option<Mark> {
        match text {
            Text::Key => {
                self.member = member(&self.key);
                self.step = Step::Between(Expect::Colon);
            }
            Text::Plain | Text::Wanted => self.after_value(),
            Text::Skipped => self.step = Step::Skip,
        }
        (text == Text::Wanted).then_some(Mark::Closed)
    }
}

impl Place {
    fn is_object(self) -> bool {
        !matches!(self, Self::Document | Self::TopFiles | Self::Items | Self::ItemFiles)
    }
}

fn member(raw: &[u8]) -> Member {
    if !raw.contains(&b'\\') {
        return named(raw);
    }
    let decoded = Decoded::read(raw);
    if decoded.raw_end(decoded.text.len()) == raw.len() { named(&decoded.text) } else { Member::Other }
}

fn named(key: &[u8]) -> Member {
    match key {
        b"code" => Member::Code,
        b"errors" => Member::Errors,
        b"files" => Member::Files,
        b"items" => Member::Items,
        _ => Member::Other,
    }
}

const LONGEST_KEY: usize = LONGEST_ESCAPE * "errors".len();
