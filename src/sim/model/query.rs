//! A query string as Webex reads it: pairs in order, values kept as they were written.

/// The pairs of a query string.
#[derive(Debug, Clone, Default)]
pub(super) struct Query(Vec<(String, Option<String>)>);

impl Query {
    pub(super) fn parse(raw: &str) -> Self {
        let pair = |part: &str| match part.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (part.to_owned(), None),
        };
        Self(raw.split('&').filter(|part| !part.is_empty()).map(pair).collect())
    }

    /// The decoded value of the last pair of that name that has one: clients repeat `max`, and the last one wins.
    pub(super) fn value(&self, key: &str) -> Option<String> {
        let value = self.0.iter().rev().find(|(name, _)| name == key)?.1.as_ref()?;
        (!value.is_empty()).then(|| decode(value))
    }

    /// Whether the comma list of that name holds `word`.
    pub(super) fn lists(&self, key: &str, word: &str) -> bool {
        self.value(key).is_some_and(|value| value.split(',').any(|part| part.trim() == word))
    }

    /// The pairs but those named, still encoded: what a next link repeats.
    pub(super) fn without(&self, dropped: &[&str]) -> Vec<String> {
        let kept = self.0.iter().filter(|(name, _)| !dropped.contains(&name.as_str()));
        kept.map(|(name, value)| match value {
            Some(value) => format!("{name}={value}"),
            None => name.clone(),
        })
        .collect()
    }
}

/// Decodes `%XX` and `+`; what is no valid escape stands for itself.
pub(super) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escape = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = escape.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, escaped) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(*first),
        }
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
