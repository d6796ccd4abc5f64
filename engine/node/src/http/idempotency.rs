//! Retries that are recognised: the `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header-06).
//!
//! A client that does not know what became of a request asks again with the same key. What is decided here is pure:
//! [`admit`] says from what was remembered whether the request is carried out, answered as before, or refused. What is
//! remembered is kept by the service, in the same transaction as the change itself, under the actor and the key: two
//! clients may choose the same.

use super::{Problem, ProblemKind};
use http::{HeaderMap, Method};
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

/// The header's name.
pub const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";
/// On an answer that was given before: the request had been carried out under its key.
pub const REPLAYED_HEADER: &str = "idempotent-replayed";
/// Longest key.
const MAX_LETTERS: usize = 255;

/// What a client calls a request, so that it can be repeated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The key among a request's headers, if there is one: a string of structured fields (RFC 9651, §3.3.3). Without
    /// quotes it is taken too, as many clients send it.
    ///
    /// # Errors
    /// 400 when there are two, or it is empty, too long or malformed.
    pub fn of(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY_HEADER).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let parsed = value.to_str().ok().and_then(parse);
        match parsed.filter(|_| values.next().is_none()) {
            Some(key) => Ok(Some(IdempotencyKey(key))),
            None => Err(Problem::bad_request(format!(
                "the header Idempotency-Key must be one string of 1 to {MAX_LETTERS} printable ASCII characters in \
                 quotes, such as \"8e03978e-40d5-43dd-bc93-6894a57f9324\""
            ))),
        }
    }

    /// The same, where a request without a key is refused (400).
    pub fn required(headers: &HeaderMap) -> Result<IdempotencyKey, Problem> {
        IdempotencyKey::of(headers)?.ok_or_else(|| {
            Problem::new(
                ProblemKind::IdempotencyKeyMissing,
                "this asks for the header Idempotency-Key, so that a retry is not carried out twice",
            )
        })
    }

    /// The key without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn parse(text: &str) -> Option<String> {
    let text = text.trim_matches(' ');
    let mut key = String::new();
    match text.strip_prefix('"') {
        None => {
            let is_good = |byte: u8| byte.is_ascii_graphic() && !b"\"\\,;".contains(&byte);
            key.push_str(text.bytes().all(is_good).then_some(text)?);
        }
        Some(rest) => {
            let mut letters = rest.strip_suffix('"')?.bytes();
            while let Some(letter) = letters.next() {
                match letter {
                    b'\\' => key.push(char::from(letters.next().filter(|l| b"\"\\".contains(l))?)),
                    b' '..=b'~' if letter != b'"' => key.push(char::from(letter)),
                    _ => return None,
                }
            }
        }
    }
    (1..=MAX_LETTERS).contains(&key.len()).then_some(key)
}

/// What tells one request from another: SHA-256 over method, target and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// That of a request. Each part is preceded by its length, so that no two requests are the same bytes.
    pub fn of(method: &Method, target: &str, body: &[u8]) -> Fingerprint {
        let mut context = Context::new(&SHA256);
        for part in [method.as_str().as_bytes(), target.as_bytes(), body] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let digest = context.finish();
        Fingerprint(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// Its first 64 bits: enough to tell apart what one client calls by one name.
    pub fn short(&self) -> u64 {
        u64::from_le_bytes(*self.0.first_chunk().expect("32 bytes"))
    }
}

/// What is remembered of a request that had a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Which it was.
    pub fingerprint: Fingerprint,
    /// How it was answered; `None` while it is carried out.
    pub answer: Option<SavedAnswer>,
}

/// An answer to be given again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body, JSON.
    pub body: Vec<u8>,
}

/// What becomes of a request that has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission<'a> {
    /// It is carried out, and remembered.
    CarryOut,
    /// It is answered as it was before.
    Replay(&'a SavedAnswer),
}

/// Decides by what is remembered under the request's key.
///
/// # Errors
/// 422 when the key was another request's, 409 when this one is being carried out (§2.6 of the draft).
pub fn admit(
    remembered: Option<&Remembered>,
    fingerprint: Fingerprint,
) -> Result<Admission<'_>, Problem> {
    match remembered {
        None => Ok(Admission::CarryOut),
        Some(other) if other.fingerprint != fingerprint => Err(Problem::new(
            ProblemKind::IdempotencyKeyReused,
            "this Idempotency-Key was used for another request; this one was not carried out",
        )),
        Some(Remembered { answer: None, .. }) => Err(Problem::new(
            ProblemKind::IdempotencyInProgress,
            "the request with this Idempotency-Key is being carried out; ask again later",
        )),
        Some(Remembered {
            answer: Some(answer),
            ..
        }) => Ok(Admission::Replay(answer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn of(values: &[&str]) -> Result<Option<IdempotencyKey>, Problem> {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            headers.append(IDEMPOTENCY_KEY_HEADER, value);
        }
        IdempotencyKey::of(&headers)
    }

    #[test]
    fn keys_are_read_with_and_without_quotes() {
        assert_eq!(of(&[]), Ok(None));
        let longest = "k".repeat(MAX_LETTERS);
        for (text, key) in [
            ("\"8e03978e-40d5\"", "8e03978e-40d5"),
            ("8e03978e-40d5", "8e03978e-40d5"),
            ("\"a b\"", "a b"),
            (r#""a\"b\\""#, r#"a"b\"#),
            (&longest, &longest),
        ] {
            assert_eq!(
                of(&[text]),
                Ok(Some(IdempotencyKey(key.to_owned()))),
                "{text}"
            );
        }
        let long = "k".repeat(MAX_LETTERS + 1);
        for bad in [
            "",
            "\"\"",
            "\"a",
            "a\"",
            "\"a\"b\"",
            r#""\n""#,
            "\"a\\\"",
            "a b",
            "a;b=1",
            "\u{e9}",
            "\"\u{e9}\"",
            &long,
        ] {
            assert!(of(&[bad]).is_err(), "{bad}");
        }
        assert!(of(&["a", "a"]).is_err(), "which one?");
        let missing = IdempotencyKey::required(&HeaderMap::new()).expect_err("refused");
        assert_eq!(missing.kind, ProblemKind::IdempotencyKeyMissing);
    }

    #[test]
    fn a_retry_is_answered_as_before_and_another_request_is_refused() {
        let one = Fingerprint::of(&Method::POST, "/a", b"1");
        for other in [
            Fingerprint::of(&Method::PUT, "/a", b"1"),
            Fingerprint::of(&Method::POST, "/a1", b""),
            Fingerprint::of(&Method::POST, "/a", b"2"),
            Fingerprint::of(&Method::POST, "/", b"a1"),
        ] {
            assert_ne!(one, other);
        }
        assert_eq!(admit(None, one), Ok(Admission::CarryOut));
        let mut remembered = Remembered {
            fingerprint: one,
            answer: None,
        };
        let kind = |result: Result<Admission<'_>, Problem>| result.expect_err("refused").kind;
        assert_eq!(
            kind(admit(Some(&remembered), one)),
            ProblemKind::IdempotencyInProgress
        );
        let answer = SavedAnswer {
            status: 201,
            body: b"{}".to_vec(),
        };
        remembered.answer = Some(answer.clone());
        assert_eq!(
            admit(Some(&remembered), one),
            Ok(Admission::Replay(&answer))
        );
        let other = Fingerprint::of(&Method::POST, "/b", b"1");
        assert_eq!(
            kind(admit(Some(&remembered), other)),
            ProblemKind::IdempotencyKeyReused
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "\"?[ -~\\PC]{0,20}\"?") {
            if let Some(key) = parse(&text) {
                let quoted = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
                prop_assert_eq!(parse(&quoted), Some(key));
            }
        }
    }
}
