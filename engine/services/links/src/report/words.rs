//! What verdicts are called, and how bad they are.

use crate::Verdict;

/// How much a verdict asks of whoever keeps the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nothing.
    Fine,
    /// It works, and could be written better.
    Note,
    /// It may be broken: somebody has to look.
    Warning,
    /// It is broken.
    Error,
}

/// How much `verdict` asks of whoever keeps the page.
pub fn severity(verdict: Verdict) -> Severity {
    match verdict {
        Verdict::Alive | Verdict::Unverifiable => Severity::Fine,
        Verdict::Moved => Severity::Note,
        Verdict::Blocked | Verdict::Throttled | Verdict::Flaky => Severity::Warning,
        Verdict::Dead
        | Verdict::FragmentMissing
        | Verdict::Soft404
        | Verdict::RedirectLoop
        | Verdict::TlsProblem => Severity::Error,
    }
}

/// What a verdict is called before people.
pub fn title(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Alive => "Alive",
        Verdict::Moved => "Moved",
        Verdict::Dead => "Dead",
        Verdict::Blocked => "Blocked",
        Verdict::Throttled => "Throttled",
        Verdict::Flaky => "Flaky",
        Verdict::FragmentMissing => "Fragment missing",
        Verdict::Soft404 => "Soft 404",
        Verdict::RedirectLoop => "Redirect loop",
        Verdict::TlsProblem => "TLS problem",
        Verdict::Unverifiable => "Not checkable",
    }
}

/// What a verdict means, in a sentence.
pub fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Alive => "The link leads where it should.",
        Verdict::Moved => "The target has moved for good: write the new address.",
        Verdict::Dead => "The link leads nowhere, and did so at every try.",
        Verdict::Blocked => "The site turns programs away; people may get in.",
        Verdict::Throttled => "The site had too many requests for as long as it was asked.",
        Verdict::Flaky => "Spaced tries disagreed: some got the target, some did not.",
        Verdict::FragmentMissing => "The page is there, the place in it is not.",
        Verdict::Soft404 => {
            "The page says that it is not there, with a status that says that it is."
        }
        Verdict::RedirectLoop => {
            "Redirects lead round in a circle, or further than anybody follows."
        }
        Verdict::TlsProblem => {
            "No secure connection can be had: the certificate is wrong, for example."
        }
        Verdict::Unverifiable => {
            "The link cannot be checked: a mail address, a script, or forbidden by robots.txt."
        }
    }
}
