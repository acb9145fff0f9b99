//! What a credential may do.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

/// Longest scope, in characters.
pub const MAX_SCOPE_LEN: usize = 100;
/// Most scopes that one key holds. Together with [`MAX_SCOPE_LEN`] this keeps the scopes of a key
/// within the 4 KiB that a gateway commonly sets aside for the headers of an answer.
pub const MAX_SCOPES: usize = 32;

/// The namespace whose scopes govern Keyward itself. All others belong to the user's own services.
const OWN_NAMESPACE: &str = "api_keys:";

/// A text that is not a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScope {
    /// Empty, too long, or with a character that RFC 6749 (section 3.3) leaves out.
    #[error("a scope is 1 to {MAX_SCOPE_LEN} visible ASCII characters other than \" and \\")]
    Malformed,
    /// In Keyward's own namespace, but none that it knows.
    #[error("the scopes that begin with api_keys: are api_keys:read and api_keys:write")]
    Unknown,
    /// More scopes than one key holds.
    #[error("a key holds at most {MAX_SCOPES} scopes")]
    TooMany,
}

/// One scope: a scope-token of RFC 6749, section 3.3, of at most [`MAX_SCOPE_LEN`] characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Box<str>);

impl Scope {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let good = (1..=MAX_SCOPE_LEN).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
        if !good {
            return Err(InvalidScope::Malformed);
        }
        if text.starts_with(OWN_NAMESPACE) && Permission::named(text).is_none() {
            return Err(InvalidScope::Unknown);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What may be done to the keys of a workspace: the scopes of Keyward's own namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// `api_keys:read`: get and list.
    Read,
    /// `api_keys:write`: create, change, rotate and revoke.
    Write,
}

impl Permission {
    /// The scope that grants it.
    pub const fn scope(self) -> &'static str {
        match self {
            Self::Read => "api_keys:read",
            Self::Write => "api_keys:write",
        }
    }

    fn named(text: &str) -> Option<Self> {
        [Self::Read, Self::Write].into_iter().find(|permission| permission.scope() == text)
    }
}

/// A set of scopes, sorted and without repeats.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes(Box<[Scope]>);

impl Scopes {
    /// What a key holds when its creator named no scopes: it may list, but not mint its successor.
    pub fn default_for_keys() -> &'static Self {
        static DEFAULT: LazyLock<Scopes> =
            LazyLock::new(|| Scopes(Box::new([Scope(Permission::Read.scope().into())])));
        &DEFAULT
    }

    /// The scopes of a space-separated list, as in a token's `scope` claim (RFC 9068). What is no
    /// scope here grants nothing and is passed over: the token may be meant for others too.
    pub fn from_claim(claim: &str) -> Self {
        claim.split(' ').filter_map(|scope| scope.parse().ok()).collect()
    }

    /// Whether `scope` is among them.
    pub fn contains(&self, scope: &str) -> bool {
        self.0.iter().any(|held| held.as_str() == scope)
    }

    /// Whether they grant `permission`.
    pub fn grant(&self, permission: Permission) -> bool {
        self.contains(permission.scope())
    }

    /// The first of these scopes that `held` lacks.
    pub fn first_outside<'a>(&'a self, held: &Self) -> Option<&'a Scope> {
        self.iter().find(|scope| !held.contains(scope.as_str()))
    }

    /// The first of these scopes that is in Keyward's own namespace and that `held` lacks.
    pub fn first_own_outside<'a>(&'a self, held: &Self) -> Option<&'a Scope> {
        self.iter()
            .find(|scope| scope.0.starts_with(OWN_NAMESPACE) && !held.contains(scope.as_str()))
    }

    /// In sorted order.
    pub fn iter(&self) -> std::slice::Iter<'_, Scope> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These scopes, if one key can hold so many.
    ///
    /// # Errors
    ///
    /// [`InvalidScope::TooMany`] beyond [`MAX_SCOPES`].
    pub fn within_limit(self) -> Result<Self, InvalidScope> {
        if self.0.len() > MAX_SCOPES { Err(InvalidScope::TooMany) } else { Ok(self) }
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut scopes: Vec<Scope> = scopes.into_iter().collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes.into())
    }
}

impl<'a> IntoIterator for &'a Scopes {
    type Item = &'a Scope;
    type IntoIter = std::slice::Iter<'a, Scope>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Separated by spaces, as in a `scope` claim.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, scope) in self.iter().enumerate() {
            if n > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(text: &str) -> Scopes {
        Scopes::from_claim(text)
    }

    #[test]
    fn a_scope_is_a_token_of_rfc_6749() {
        for good in ["orders:read", "a", "!", "api_keys:read", "api_keys", &"x".repeat(100)] {
            assert!(good.parse::<Scope>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\"", "a\\", "é", "a\0", "\u{7f}", &"x".repeat(101)] {
            assert_eq!(bad.parse::<Scope>(), Err(InvalidScope::Malformed), "{bad}");
        }
        for unknown in ["api_keys:", "api_keys:admin", "api_keys:READ"] {
            assert_eq!(unknown.parse::<Scope>(), Err(InvalidScope::Unknown), "{unknown}");
        }
    }

    #[test]
    fn scopes_are_a_sorted_set() {
        assert_eq!(scopes("b a  b c a").to_string(), "a b c");
        assert_eq!(scopes("").to_string(), "");
    }

    #[test]
    fn what_is_outside_is_found() {
        let held = scopes("api_keys:read a");
        assert_eq!(scopes("a").first_outside(&held), None);
        assert_eq!(scopes("a b").first_outside(&held).unwrap().as_str(), "b");
        assert_eq!(scopes("b").first_own_outside(&held), None);
        assert!(scopes("api_keys:write").first_own_outside(&held).is_some());
    }
}
