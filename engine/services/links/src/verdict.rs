use serde::{Deserialize, Serialize};
use std::fmt;

/// What became of a link, in words that somebody can act on. The names in serialised form do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It leads where it should.
    Alive,
    /// It leads there, by a permanent redirect: write the new address.
    Moved,
    /// It leads nowhere, and did so at every try.
    Dead,
    /// The site turns programs away; people may get in.
    Blocked,
    /// The site had too many requests for as long as it was asked.
    Throttled,
    /// Spaced tries disagreed.
    Flaky,
    /// The page is there, the place in it is not.
    FragmentMissing,
    /// The page says that it is not there, with a status that says that it is.
    Soft404,
    /// It leads round in a circle, or further than anybody follows.
    RedirectLoop,
    /// No secure connection can be had: the certificate is wrong, say.
    TlsProblem,
    /// It cannot be checked: a mail address, a script, or forbidden to programs by robots.txt.
    Unverifiable,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Verdict; 11] = [
        Verdict::Alive,
        Verdict::Moved,
        Verdict::Dead,
        Verdict::Blocked,
        Verdict::Throttled,
        Verdict::Flaky,
        Verdict::FragmentMissing,
        Verdict::Soft404,
        Verdict::RedirectLoop,
        Verdict::TlsProblem,
        Verdict::Unverifiable,
    ];

    /// Whether the link must be mended, for certain.
    pub fn is_broken(self) -> bool {
        matches!(
            self,
            Verdict::Dead
                | Verdict::FragmentMissing
                | Verdict::Soft404
                | Verdict::RedirectLoop
                | Verdict::TlsProblem
        )
    }

    /// Its name in serialised form.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Alive => "alive",
            Verdict::Moved => "moved",
            Verdict::Dead => "dead",
            Verdict::Blocked => "blocked",
            Verdict::Throttled => "throttled",
            Verdict::Flaky => "flaky",
            Verdict::FragmentMissing => "fragment_missing",
            Verdict::Soft404 => "soft404",
            Verdict::RedirectLoop => "redirect_loop",
            Verdict::TlsProblem => "tls_problem",
            Verdict::Unverifiable => "unverifiable",
        }
    }

    /// The verdict of that name.
    pub fn named(name: &str) -> Option<Verdict> {
        Verdict::ALL
            .into_iter()
            .find(|verdict| verdict.name() == name)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_serialised_form() {
        for verdict in Verdict::ALL {
            let json = serde_json::to_string(&verdict).expect("it encodes");
            assert_eq!(json, format!("\"{}\"", verdict.name()));
            assert_eq!(Verdict::named(verdict.name()), Some(verdict));
        }
    }
}
