use crate::CheckJob;
use std::{fmt, str::FromStr};

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// One JSON object: the job and its results.
    Json,
    /// A page for people.
    Html,
    /// Lines for a terminal.
    Text,
    /// Comma-separated values (RFC 4180).
    Csv,
    /// Results as JSON, one a line.
    JsonLines,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
    /// JUnit's XML, for continuous integration.
    Junit,
}

/// Elements of an `Accept` header that are read; further ones count for nothing.
const MAX_RANGES: usize = 64;

impl Format {
    /// All of them; of two that suit a client equally well it gets the earlier.
    pub const ALL: [Format; 7] = [
        Format::Json,
        Format::Html,
        Format::Text,
        Format::Csv,
        Format::JsonLines,
        Format::Sarif,
        Format::Junit,
    ];

    /// Its name, as [`FromStr`] reads it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Html => "html",
            Format::Text => "text",
            Format::Csv => "csv",
            Format::JsonLines => "jsonl",
            Format::Sarif => "sarif",
            Format::Junit => "junit",
        }
    }

    /// The value of `Content-Type`.
    pub fn media_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Html => "text/html; charset=utf-8",
            Format::Text => "text/plain; charset=utf-8",
            Format::Csv => "text/csv; charset=utf-8; header=present",
            Format::JsonLines => "application/x-ndjson",
            Format::Sarif => "application/sarif+json",
            Format::Junit => "application/xml",
        }
    }

    /// The ending of a file's name, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Html => "html",
            Format::Text => "txt",
            Format::Csv => "csv",
            Format::JsonLines => "jsonl",
            Format::Sarif => "sarif",
            Format::Junit => "xml",
        }
    }

    /// A name for a file with the report of `job`, made of ASCII letters, digits, dots and hyphens only: it fits a
    /// file system and a `Content-Disposition` as it is.
    pub fn file_name(self, job: &CheckJob) -> String {
        const MAX_DOMAIN: usize = 100;
        let plain = |c: char| match c {
            c if c.is_ascii_alphanumeric() || c == '.' => c.to_ascii_lowercase(),
            _ => '-',
        };
        let domain = job.target_domain.chars().take(MAX_DOMAIN).map(plain);
        let domain = domain.collect::<String>();
        format!("links-{domain}-{}.{}", job.id, self.extension())
    }

    /// The format that suits an `Accept` header (RFC 9110, section 12.5.1) best; `None` if none does, which is the
    /// status 406.
    ///
    /// The greatest weight wins, then what is named more exactly, then what is named earlier, then the order of
    /// [`Format::ALL`]. So an empty header and `*/*` mean JSON, and a browser gets HTML. An element that cannot
    /// be read is passed over, and so are parameters other than `q`.
    pub fn for_accept(accept: &str) -> Option<Format> {
        let is_empty = |element: &&str| !element.trim().is_empty();
        let elements = accept.split(',').filter(is_empty).take(MAX_RANGES);
        let mut ranges: Vec<Range<'_>> = elements.filter_map(Range::parse).collect();
        if accept.trim().is_empty() {
            ranges.extend(Range::parse("*/*"));
        }
        let mut best: Option<(Rank, Format)> = None;
        for format in Format::ALL {
            let Some(rank) = format.rank(&ranges) else {
                continue;
            };
            if best.is_none_or(|(best, _)| rank > best) {
                best = Some((rank, format));
            }
        }
        best.map(|(_, format)| format)
    }

    /// How well it suits, by the most exact range that covers it; `None` if it does not.
    fn rank(self, ranges: &[Range<'_>]) -> Option<Rank> {
        let mut found: Option<Rank> = None;
        for (at, range) in ranges.iter().enumerate() {
            let Some(exactness) = self.covered_by(range) else {
                continue;
            };
            if found.is_none_or(|found| exactness > found.exactness) {
                found = Some(Rank {
                    weight: range.weight,
                    exactness,
                    earliness: MAX_RANGES - at,
                });
            }
        }
        found.filter(|rank| rank.weight > 0)
    }

    fn covered_by(self, range: &Range<'_>) -> Option<Exactness> {
        if range.kind == "*" {
            return (range.subtype == "*").then_some(Exactness::Anything);
        }
        let types = self.accepted_types().iter();
        let mut covering = types.filter_map(|name| {
            let (kind, subtype) = name.split_once('/')?;
            if !kind.eq_ignore_ascii_case(range.kind) {
                return None;
            }
            match range.subtype {
                "*" => Some(Exactness::Kind),
                wanted => subtype
                    .eq_ignore_ascii_case(wanted)
                    .then_some(Exactness::Exact),
            }
        });
        covering.next()
    }

    /// The names that clients have for its media type.
    fn accepted_types(self) -> &'static [&'static str] {
        match self {
            Format::Json => &["application/json"],
            Format::Html => &["text/html"],
            Format::Text => &["text/plain"],
            Format::Csv => &["text/csv"],
            Format::JsonLines => &[
                "application/x-ndjson",
                "application/ndjson",
                "application/jsonl",
                "application/x-jsonlines",
            ],
            Format::Sarif => &["application/sarif+json"],
            Format::Junit => &["application/xml", "text/xml"],
        }
    }
}

/// How well a format suits; what is declared first weighs more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    weight: u16,
    exactness: Exactness,
    earliness: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Exactness {
    Anything,
    Kind,
    Exact,
}

/// An element of `Accept`.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// Thousandths.
    weight: u16,
}

impl Range<'_> {
    fn parse(element: &str) -> Option<Range<'_>> {
        let mut parts = element.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        if kind.is_empty() || subtype.is_empty() {
            return None;
        }
        let mut weight = 1_000;
        for parameter in parts {
            if let Some((name, value)) = parameter.split_once('=')
                && name.trim().eq_ignore_ascii_case("q")
            {
                weight = thousandths(value.trim())?;
            }
        }
        Some(Range {
            kind,
            subtype,
            weight,
        })
    }
}

/// Reads a weight (RFC 9110, section 12.4.2): `0` to `1` with up to three decimals.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let part: u16 = format!("{decimals:0<3}").parse().ok()?;
    match (whole, part) {
        ("0", part) => Some(part),
        ("1", 0) => Some(1_000),
        _ => None,
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No name of a [`Format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a report's format is one of json, html, text, csv, jsonl, sarif and junit")]
pub struct InvalidFormat;

impl FromStr for Format {
    type Err = InvalidFormat;

    fn from_str(text: &str) -> Result<Self, InvalidFormat> {
        let mut all = Format::ALL.into_iter();
        all.find(|format| format.name() == text)
            .ok_or(InvalidFormat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for format in Format::ALL {
            assert_eq!(format.name().parse(), Ok(format));
            assert!(InvalidFormat.to_string().contains(format.name()));
        }
        assert_eq!("xml".parse::<Format>(), Err(InvalidFormat));
        assert_eq!("".parse::<Format>(), Err(InvalidFormat));
    }

    #[test]
    fn its_own_media_type_asks_for_a_format() {
        for format in Format::ALL {
            assert_eq!(Format::for_accept(format.media_type()), Some(format));
        }
    }

    #[test]
    fn accept_headers() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        let cases = [
            ("", Some(Format::Json)),
            ("*/*", Some(Format::Json)),
            (browser, Some(Format::Html)),
            ("text/*", Some(Format::Html)),
            ("application/*", Some(Format::Json)),
            ("TEXT/CSV", Some(Format::Csv)),
            ("text/csv;q=0.5, application/xml;q=0.6", Some(Format::Junit)),
            ("text/csv, application/xml", Some(Format::Csv)),
            ("application/xml, text/csv", Some(Format::Junit)),
            ("*/*, text/csv", Some(Format::Csv)),
            // A more exact range overrules a wider one, whatever their order.
            ("*/*, application/json;q=0", Some(Format::Html)),
            ("application/json;q=0, text/*;q=0.1", Some(Format::Html)),
            ("text/csv ; header=absent ; Q=1.000", Some(Format::Csv)),
            ("image/png", None),
            ("*/*;q=0", None),
            ("text/csv;q=0.000", None),
            ("text/csv;q=1.001", None),
            ("text/csv;q=0.1234", None),
            ("text/csv;q=-1", None),
            ("text/csv;q=", None),
            ("*/csv", None),
            ("csv, /csv, text/", None),
            (", ,text/csv", Some(Format::Csv)),
        ];
        for (accept, format) in cases {
            assert_eq!(Format::for_accept(accept), format, "{accept:?}");
        }
    }

    #[test]
    fn a_long_accept_header_is_read_up_to_a_bound() {
        let long = "a/b,".repeat(MAX_RANGES) + "text/csv";
        assert_eq!(Format::for_accept(&long), None);
        assert_eq!(Format::for_accept(&long[4..]), Some(Format::Csv));
    }
}
