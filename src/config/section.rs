//! Decides how one declaration of a section becomes a struct, its reader, and its rows of the table of keys.

use super::rows::TableArray;

/// One row of the table of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The whole path, such as `listen.tls.cert_file`.
    pub path: &'static str,
    /// What is accepted, in words.
    pub accepts: String,
    /// The default as it would stand in a file.
    pub default: String,
    /// What the key decides: one or two sentences.
    pub about: String,
}

impl Key {
    /// The variable of the environment that sets this key; none for the keys of an array of tables.
    pub fn variable(&self) -> Option<String> {
        let is_single = TableArray::of_key(self.path).is_none();
        is_single.then(|| format!("TOLLGATE_{}", self.path.replace('.', "__").to_ascii_uppercase()))
    }
}

/// A section of the configuration, as the program needs it.
pub(super) trait Section {
    /// The keys, by their whole paths, which another configuration has otherwise.
    fn differs_in(&self, other: &Self) -> Vec<&'static str>;
}

/// Declares a section once: `field: Type = shape, "default";` under its doc comment.
///
/// A key is declared in one place, or the struct, the reader, the table and the docs would drift apart.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $vis:vis struct $name:ident in $prefix:literal {
            $( $(#[doc = $doc:literal])+ $field:ident : $type:ty = $shape:expr, $default:literal; )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $name {
            $( $(#[doc = $doc])+ $vis $field: $type, )+
        }

        impl $name {
            /// Takes every key of the section, telling all faults; none only if a default is faulty.
            pub(super) fn take(layers: &mut Layers) -> Option<Self> {
                $( let $field = layers.take(concat!($prefix, stringify!($field)), $default, &$shape); )+
                Some(Self { $( $field: $field?, )+ })
            }

            /// The section's rows of the table of keys.
            pub(super) fn keys() -> Vec<Key> {
                vec![ $( row(
                    concat!($prefix, stringify!($field)),
                    $default,
                    concat!($($doc),+).trim(),
                    &$shape,
                ), )+ ]
            }
        }

        impl Section for $name {
            fn differs_in(&self, other: &Self) -> Vec<&'static str> {
                let found = [ $( (self.$field != other.$field).then_some(concat!($prefix, stringify!($field))), )+ ];
                found.into_iter().flatten().collect()
            }
        }
    };
}

pub(super) use section;
