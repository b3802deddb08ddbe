//! SMART on FHIR scopes, version 2: `user/Observation.rs`, `system/*.cruds` (SMART App Launch 2.2,
//! scopes-and-launch-context).

use std::fmt;

use crate::fhir::kinds::ResourceType;

/// The most scopes one token carries.
pub const SCOPES_MAX: usize = 256;

/// What a scope lets one do to a type: the letters of SMART v2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letter {
    /// `c`: create.
    Create,
    /// `r`: read, vread, instance history.
    Read,
    /// `u`: update.
    Update,
    /// `d`: delete.
    Delete,
    /// `s`: search, type and system history.
    Search,
}

impl Letter {
    const ALL: [(Self, char); 5] = [
        (Self::Create, 'c'),
        (Self::Read, 'r'),
        (Self::Update, 'u'),
        (Self::Delete, 'd'),
        (Self::Search, 's'),
    ];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Who the scope speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `patient/`: one patient's compartment.
    Patient,
    /// `user/`: what the user may see.
    User,
    /// `system/`: a program by itself.
    System,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::User => "user",
            Self::System => "system",
        }
    }
}

/// One resource scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    level: Level,
    /// `None` is `*`.
    kind: Option<ResourceType>,
    letters: u8,
}

impl Scope {
    /// Parses `user/Observation.rs`; `None` for anything else, v1's `.read` and `.write` included.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (level, rest) = text.split_once('/')?;
        let level = [Level::Patient, Level::User, Level::System].into_iter().find(|l| l.word() == level)?;
        let (kind, letters) = rest.split_once('.')?;
        let kind = if kind == "*" { None } else { Some(ResourceType::from_name(kind)?) };
        let mut set = 0;
        let mut order = Letter::ALL.iter();
        for letter in letters.chars() {
            // Letters stand in the order c r u d s, each once (SMART v2 grammar).
            let (known, _) = order.find(|(_, c)| *c == letter)?;
            set |= known.bit();
        }
        (set != 0).then_some(Self { level, kind, letters: set })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.map_or("*", ResourceType::name);
        write!(f, "{}/{kind}.", self.level.word())?;
        Letter::ALL
            .iter()
            .filter(|(l, _)| self.letters & l.bit() != 0)
            .try_for_each(|(_, c)| write!(f, "{c}"))
    }
}

/// The resource scopes of one credential.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// Parses a space-separated list; words that are no resource scopes are left out, and so is what stands
    /// past [`SCOPES_MAX`].
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.split_ascii_whitespace().filter_map(Scope::parse).take(SCOPES_MAX).collect())
    }

    /// Whether `letter` on `kind` is inside any of the scopes.
    ///
    /// Only `user/` and `system/` scopes count: a `patient/` scope is good for the one patient of a launch
    /// context, and a caller of ours has none.
    #[must_use]
    pub fn allow(&self, letter: Letter, kind: ResourceType) -> bool {
        self.0.iter().any(|s| {
            s.level != Level::Patient && s.letters & letter.bit() != 0 && s.kind.is_none_or(|k| k == kind)
        })
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scopes of `self` narrowed to what `granted` holds too, for a client that asks for less or more
    /// than it was registered for.
    #[must_use]
    pub fn narrowed_to(&self, granted: &Self) -> Self {
        let mut out = Vec::new();
        for asked in &self.0 {
            for held in granted.0.iter().filter(|held| held.level == asked.level) {
                let letters = asked.letters & held.letters;
                let kind = match (asked.kind, held.kind) {
                    (None, k) | (k, None) => k,
                    (Some(a), Some(h)) if a == h => Some(a),
                    _ => continue,
                };
                if letters != 0 {
                    out.push(Scope { level: asked.level, kind, letters });
                }
            }
        }
        out.truncate(SCOPES_MAX);
        Self(out)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{scope}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_allow_what_their_letters_say() {
        let scopes = Scopes::parse(
            "user/Observation.rs openid system/*.c patient/Patient.read user/Nonsense.r user/Patient.sr",
        );
        assert!(scopes.allow(Letter::Read, ResourceType::OBSERVATION));
        assert!(!scopes.allow(Letter::Update, ResourceType::OBSERVATION));
        assert!(scopes.allow(Letter::Create, ResourceType::PATIENT));
        assert!(
            !scopes.allow(Letter::Read, ResourceType::PATIENT),
            "v1 scopes and letters out of order are not scopes"
        );
        let launched = Scopes::parse("patient/Observation.rs");
        assert!(!launched.allow(Letter::Read, ResourceType::OBSERVATION), "good for one patient only");
        assert_eq!(scopes.to_string(), "user/Observation.rs system/*.c");
    }

    #[test]
    fn asking_for_more_than_was_granted_gives_what_was_granted() {
        let granted = Scopes::parse("user/Observation.rs user/Patient.r");
        assert_eq!(
            Scopes::parse("user/*.cruds").narrowed_to(&granted).to_string(),
            "user/Observation.rs user/Patient.r"
        );
        assert!(Scopes::parse("system/*.cruds").narrowed_to(&granted).is_empty());
    }
}
