//! Names, validated where they enter, and dense indexes, valid for one fleet revision.

use std::fmt;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameError {
    /// The text that was refused.
    pub text: String,
    /// What a correct name looks like.
    pub expected: &'static str,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not {}", self.text, self.expected)
    }
}
impl std::error::Error for NameError {}

/// A name of one part: lower-case letters, digits, `-`, `_` and `.`, 1 to 63 characters, letter or digit first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Checks and takes `text`.
    ///
    /// # Errors
    /// When `text` is empty, longer than 63 characters or has another character.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let first = text.as_bytes().first().copied().unwrap_or(b'-');
        let good = text.len() <= 63
            && (first.is_ascii_lowercase() || first.is_ascii_digit())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'));
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError {
                text: text.to_owned(),
                expected: "a name (a-z, 0-9, `-`, `_`, `.`; 1 to 63 characters; a letter or digit first)",
            })
        }
    }
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `provider/region`, as operators write it: `aws/us-east-1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionName {
    /// The provider's name.
    pub provider: Name,
    /// The region's own name, unique within the provider.
    pub region: Name,
}
impl RegionName {
    /// Splits and checks `provider/region`.
    ///
    /// # Errors
    /// When there is not exactly one `/`, or a part is no [`Name`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        let bad =
            || NameError { text: text.to_owned(), expected: "a region (`provider/region`, as in `aws/us-east-1`)" };
        let (provider, region) = text.split_once('/').ok_or_else(bad)?;
        Ok(Self { provider: Name::new(provider).map_err(|_| bad())?, region: Name::new(region).map_err(|_| bad())? })
    }
}
impl fmt::Display for RegionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.region)
    }
}

/// A country by ISO 3166-1 alpha-2, upper case: `DE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Jurisdiction([u8; 2]);
impl Jurisdiction {
    /// Checks and takes two upper-case letters.
    ///
    /// # Errors
    /// When `text` is not exactly two letters `A`-`Z`.
    pub fn new(text: &str) -> Result<Self, NameError> {
        match text.as_bytes() {
            [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Ok(Self([*a, *b])),
            _ => Err(NameError {
                text: text.to_owned(),
                expected: "a country (two upper-case letters of ISO 3166-1, as in `DE`)",
            }),
        }
    }
    /// The two letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("??")
    }
}
impl fmt::Display for Jurisdiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// SHA-256 of a fleet's canonical encoding: equal content, equal revision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub [u8; 32]);
impl Revision {
    /// The first eight bytes, big-endian: what gossip carries to name a revision.
    #[must_use]
    pub fn short(&self) -> u64 {
        let mut first = [0_u8; 8];
        first.copy_from_slice(&self.0[..8]);
        u64::from_be_bytes(first)
    }
}
impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for b in &self.0[..6] {
            write!(f, "{b:02x}")?;
        }
        Ok(())
    }
}
impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revision({self})")
    }
}

macro_rules! index {
    ($($(#[$doc:meta])* $name:ident($repr:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $repr);
        impl $name {
            /// The position as a slice index.
            #[must_use]
            pub fn at(self) -> usize {
                self.0 as usize
            }
        }
        impl From<usize> for $name {
            /// `config` bounds every list far below the index type; a longer list cannot be built.
            fn from(i: usize) -> Self {
                Self(<$repr>::try_from(i).unwrap_or(<$repr>::MAX))
            }
        }
    )*};
}

index! {
    /// Position in [`crate::Fleet::providers`].
    ProviderIx(u16);
    /// Position in [`crate::Fleet::areas`].
    AreaIx(u16);
    /// Position in [`crate::Fleet::regions`].
    RegionIx(u16);
    /// Position in [`crate::Fleet::services`].
    ServiceIx(u32);
    /// Position in [`crate::Fleet::classes`].
    ClassIx(u32);
    /// Position in [`crate::Fleet::endpoints`]; also the target index of vantage reports of that revision.
    EndpointIx(u32);
    /// Position in [`crate::Fleet::vantages`].
    VantageIx(u16);
    /// Position in [`crate::Fleet::groups`].
    GroupIx(u16);
}
