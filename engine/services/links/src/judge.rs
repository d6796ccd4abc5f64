//! From what happened to a verdict.

use crate::Verdict;
use holdfast_http::{FetchError, Stage};

/// What one attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub verdict: Verdict,
    /// For programs.
    pub reason: String,
    /// For people.
    pub detail: String,
    /// Another attempt may come to something else.
    pub may_pass: bool,
}

impl Judgement {
    pub fn new(
        verdict: Verdict,
        reason: impl Into<String>,
        detail: impl Into<String>,
    ) -> Judgement {
        Judgement {
            verdict,
            reason: reason.into(),
            detail: detail.into(),
            may_pass: false,
        }
    }

    fn passing(self) -> Judgement {
        Judgement {
            may_pass: true,
            ..self
        }
    }
}

/// What the final status says, no body being looked at.
pub(crate) fn status(status: u16) -> Judgement {
    let reason = format!("status_{status}");
    let with = |verdict, detail: &str| {
        let detail = format!("the server answered with {status}: {detail}");
        Judgement::new(verdict, reason.clone(), detail)
    };
    match status {
        200..=300 => Judgement::new(Verdict::Alive, "ok", ""),
        304 => with(Verdict::Alive, "not modified"),
        301..=399 => with(Verdict::Dead, "a redirect that leads nowhere"),
        401 | 407 => with(Verdict::Blocked, "it wants to know who asks"),
        402 | 403 | 451 => with(Verdict::Blocked, "it turns programs like this one away"),
        // Not of any standard, and what large sites answer to programs.
        999 => with(Verdict::Blocked, "it turns programs like this one away"),
        404 => with(Verdict::Dead, "there is no such page"),
        410 => with(Verdict::Dead, "the page is gone"),
        429 => with(Verdict::Throttled, "too many requests").passing(),
        503 => with(Verdict::Dead, "the service is unavailable").passing(),
        408 | 421 | 425 | 500..=599 => with(Verdict::Dead, "the server failed").passing(),
        _ => with(Verdict::Dead, "the request was refused"),
    }
}

/// What the lack of an answer says.
pub(crate) fn failure(error: &FetchError) -> Judgement {
    let name = error.name().replace('-', "_");
    let detail = error.to_string();
    match error {
        FetchError::Tls { reason } => {
            let name = format!("tls_{}", reason.name().replace('-', "_"));
            Judgement::new(Verdict::TlsProblem, name, detail)
        }
        FetchError::TooManyRedirects { .. } | FetchError::RedirectLoop { .. } => {
            Judgement::new(Verdict::RedirectLoop, name, detail)
        }
        FetchError::RedirectScheme { .. } | FetchError::AddressNotAllowed { .. } => {
            Judgement::new(Verdict::Unverifiable, name, detail)
        }
        FetchError::NotAdmitted(refusal) => {
            let judgement = Judgement::new(Verdict::Unverifiable, refusal.name, detail);
            match refusal.name {
                crate::robots::UNAVAILABLE => judgement.passing(),
                _ => judgement,
            }
        }
        FetchError::Timeout { stage, .. } => {
            let name = format!("timeout_{}", stage.name().replace('-', "_"));
            // Our own queue says nothing about the link.
            let verdict = match stage {
                Stage::Queue => Verdict::Unverifiable,
                _ => Verdict::Dead,
            };
            Judgement::new(verdict, name, detail).passing()
        }
        FetchError::Busy { .. } => Judgement::new(Verdict::Unverifiable, name, detail).passing(),
        error if error.is_transient() => Judgement::new(Verdict::Dead, name, detail).passing(),
        // A resolver may have a bad moment, too.
        FetchError::NameNotFound { .. } | FetchError::BadResponse { .. } => {
            Judgement::new(Verdict::Dead, name, detail).passing()
        }
        _ => Judgement::new(Verdict::Dead, name, detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_as_people_read_them() {
        let check = |code: u16, verdict: Verdict, may_pass: bool| {
            let judged = status(code);
            assert_eq!(
                (judged.verdict, judged.may_pass),
                (verdict, may_pass),
                "{code}"
            );
        };
        check(200, Verdict::Alive, false);
        check(204, Verdict::Alive, false);
        check(302, Verdict::Dead, false);
        check(403, Verdict::Blocked, false);
        check(404, Verdict::Dead, false);
        check(410, Verdict::Dead, false);
        check(429, Verdict::Throttled, true);
        check(500, Verdict::Dead, true);
        check(503, Verdict::Dead, true);
        check(999, Verdict::Blocked, false);
    }
}
