//! Percent-encoding and query strings (RFC 3986). `+` is a plus, in paths and in queries alike.

use super::Problem;
use bytes::Bytes;
use std::{collections::BTreeMap, fmt::Write, str::FromStr};

/// Most parameters in one query.
const MAX_PARAMETERS: usize = 32;

/// Bytes of a percent-encoded text; what is wrong with it otherwise.
pub fn percent_decode(text: &str) -> Result<Bytes, Problem> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'%' {
            out.push(byte);
            rest = tail;
            continue;
        }
        let digits = tail
            .first_chunk::<2>()
            .and_then(|[high, low]| Some((hex_digit(*high)?, hex_digit(*low)?)));
        let Some((high, low)) = digits else {
            let at = text.len() - rest.len();
            return Err(Problem::bad_request(format!(
                "bad percent-encoding at byte {at} of `{}`: `%` must be followed by two hexadecimal digits",
                excerpt(text)
            )));
        };
        out.push(high << 4 | low);
        rest = &tail[2..];
    }
    Ok(out.into())
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

fn excerpt(text: &str) -> String {
    let mut start: String = text.chars().take(60).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

/// `bytes` as they stand in a path or a query: unreserved characters and `/` as they are, everything else encoded.
pub fn percent_encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a string takes what is written");
        }
    }
    out
}

/// The parameters of a query. Each is taken once; [`finish`](Query::finish) refuses those that nobody took, since a
/// misspelt limit must not go unnoticed.
#[derive(Debug)]
pub struct Query {
    parameters: BTreeMap<String, Bytes>,
    asked: Vec<&'static str>,
}

impl Query {
    /// Reads the part of a URI after `?`.
    pub fn parse(query: Option<&str>) -> Result<Query, Problem> {
        let mut parameters = BTreeMap::new();
        for pair in query.unwrap_or_default().split('&') {
            if pair.is_empty() {
                continue;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = String::from_utf8(percent_decode(name)?.to_vec())
                .map_err(|_| Problem::bad_request("a query parameter's name is not UTF-8"))?;
            if parameters.len() == MAX_PARAMETERS {
                return Err(Problem::bad_request(format!(
                    "more than {MAX_PARAMETERS} query parameters"
                )));
            }
            let value = percent_decode(value)?;
            if parameters.insert(name.clone(), value).is_some() {
                return Err(Problem::bad_request(format!(
                    "query parameter `{}` given twice",
                    excerpt(&name)
                )));
            }
        }
        Ok(Query {
            parameters,
            asked: Vec::new(),
        })
    }

    /// A parameter's bytes.
    pub fn bytes(&mut self, name: &'static str) -> Option<Bytes> {
        self.asked.push(name);
        self.parameters.remove(name)
    }

    /// A parameter's text.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        self.bytes(name)
            .map(|bytes| {
                String::from_utf8(bytes.to_vec()).map_err(|_| {
                    Problem::bad_request(format!("query parameter `{name}` is not UTF-8"))
                })
            })
            .transpose()
    }

    /// A parameter that is a number.
    pub fn number<T: FromStr>(&mut self, name: &'static str) -> Result<Option<T>, Problem> {
        self.text(name)?
            .map(|text| {
                text.parse().map_err(|_| {
                    Problem::bad_request(format!(
                        "query parameter `{name}` must be a whole number, not `{}`",
                        excerpt(&text)
                    ))
                })
            })
            .transpose()
    }

    /// A switch: `name`, `name=true` or `name=false`; off when it is not there.
    pub fn switch(&mut self, name: &'static str) -> Result<bool, Problem> {
        match self.text(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(other) => Err(Problem::bad_request(format!(
                "query parameter `{name}` must be true or false, not `{}`",
                excerpt(other)
            ))),
        }
    }

    /// Refuses what is left.
    pub fn finish(self) -> Result<(), Problem> {
        match self.parameters.keys().next() {
            None => Ok(()),
            Some(name) => Err(Problem::bad_request(format!(
                "unknown query parameter `{}`; this path takes {}",
                excerpt(name),
                if self.asked.is_empty() {
                    "none".to_owned()
                } else {
                    self.asked.join(", ")
                }
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn detail<T>(result: Result<T, Problem>) -> String {
        result.map(|_| ()).expect_err("refused").detail
    }

    #[test]
    fn bad_percent_encoding_names_the_place() {
        assert_eq!(percent_decode("a%20b+c").expect("good"), "a b+c");
        assert_eq!(percent_decode("%fF%00").expect("good"), &[0xff, 0][..]);
        assert!(detail(percent_decode("ab%2")).contains("byte 2"));
        assert!(detail(percent_decode("%zz")).contains("byte 0"));
        assert!(detail(percent_decode("%+1")).contains("byte 0"));
    }

    #[test]
    fn queries_are_read_strictly() {
        let mut query = Query::parse(Some("prefix=a%2F&limit=3&keys_only")).expect("good");
        assert_eq!(query.bytes("prefix").as_deref(), Some(&b"a/"[..]));
        assert_eq!(query.number::<u64>("limit").expect("a number"), Some(3));
        assert!(query.switch("keys_only").expect("a switch"));
        assert!(!query.switch("count_only").expect("a switch"));
        query.finish().expect("nothing left");

        let mut query = Query::parse(Some("limti=3&n=-1")).expect("good");
        assert!(detail(query.number::<u64>("n")).contains("whole number"));
        assert!(detail(query.finish()).contains("`limti`"));
        assert!(detail(Query::parse(Some("a=1&a=2"))).contains("twice"));
        let many: Vec<String> = (0..40).map(|n| format!("p{n}=")).collect();
        assert!(detail(Query::parse(Some(&many.join("&")))).contains("more than"));
    }

    proptest! {
        #[test]
        fn any_bytes_survive_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(&percent_decode(&percent_encode(&bytes)).expect("our own encoding")[..], &bytes[..]);
        }

        #[test]
        fn no_text_makes_the_decoders_panic(text in "[%&=+a-f0-9\\PC]{0,80}") {
            let _ = percent_decode(&text);
            if let Ok(mut query) = Query::parse(Some(&text)) {
                let _ = (query.number::<u64>("a"), query.switch("b"), query.text("c"), query.finish());
            }
        }
    }
}
