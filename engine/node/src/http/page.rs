//! Lists that are read page by page: `limit` and `cursor` in the query, `next` in the answer, and a `Link` to it.

use super::{Problem, ProblemKind, Query};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use http::{HeaderValue, Uri};
use serde::{Serialize, de::DeserializeOwned};

/// The version of the form of cursors; one of another version is refused, and its list is begun anew.
const VERSION: u8 = 1;
/// Longest cursor, letters: one that holds the longest key of the key-value store.
const MAX_LETTERS: usize = 96 << 10;

/// Where a page begins: what a cursor holds.
///
/// Clients pass cursors back as they are. They are neither secret nor signed: whoever makes one up reads no more than
/// they may read anyway, and the checksum is there for those that were cut or misspelt.
pub trait Position: Serialize + DeserializeOwned {
    /// Tells the cursors of one list from those of all others.
    const LIST: u8;

    /// The cursor: base64url over version, list, the position in postcard, and CRC-32C.
    fn to_cursor(&self) -> String {
        let bytes = postcard::to_extend(self, vec![VERSION, Self::LIST]);
        let mut bytes = bytes.expect("a position encodes");
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        BASE64.encode(bytes)
    }

    /// The position that a cursor holds.
    ///
    /// # Errors
    /// 400 when it is none of this list's.
    fn of_cursor(text: &str) -> Result<Self, Problem> {
        decode(Self::LIST, text).ok_or_else(invalid_cursor)
    }
}

/// The refusal of a cursor that is none, or leads out of its list.
pub fn invalid_cursor() -> Problem {
    Problem::new(
        ProblemKind::InvalidCursor,
        "the cursor is not one that this list gave; begin the list anew, without it",
    )
}

fn decode<P: DeserializeOwned>(list: u8, text: &str) -> Option<P> {
    if text.len() > MAX_LETTERS {
        return None;
    }
    let bytes = BASE64.decode(text).ok()?;
    let (summed, sum) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(summed) != u32::from_le_bytes(*sum) {
        return None;
    }
    let position = summed.strip_prefix(&[VERSION, list])?;
    let (position, rest) = postcard::take_from_bytes(position).ok()?;
    rest.is_empty().then_some(position)
}

/// Which page a query asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest<P> {
    /// How many items at most.
    pub limit: usize,
    /// From where on; from the beginning when it is `None`.
    pub from: Option<P>,
}

impl<P: Position> PageRequest<P> {
    /// Takes `limit` and `cursor` of a query. Without a limit, or with 0, there are as many items as are allowed.
    ///
    /// # Errors
    /// 400 when one of them is malformed.
    pub fn take(query: &mut Query, most: usize) -> Result<Self, Problem> {
        let limit = query.number::<u64>("limit")?.unwrap_or(0);
        let cursor = query.text("cursor")?;
        Ok(PageRequest {
            limit: match limit {
                0 => most,
                limit => usize::try_from(limit).map_or(most, |limit| limit.min(most)),
            },
            from: cursor.map(|text| P::of_cursor(&text)).transpose()?,
        })
    }
}

/// The `Link` header (RFC 8288) that leads from the page at `uri` to the one at `cursor`.
pub fn next_link(uri: &Uri, cursor: &str) -> HeaderValue {
    let query = uri.query().unwrap_or_default();
    let kept = query
        .split('&')
        .filter(|parameter| !parameter.is_empty() && parameter.split('=').next() != Some("cursor"));
    let next = format!("cursor={cursor}");
    let query: Vec<&str> = kept.chain([next.as_str()]).collect();
    let link = format!("<{}?{}>; rel=\"next\"", uri.path(), query.join("&"));
    HeaderValue::from_str(&link).expect("a target and a cursor are ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Here {
        revision: u64,
        after: Vec<u8>,
    }

    impl Position for Here {
        const LIST: u8 = 200;
    }

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct There(u64, Vec<u8>);

    impl Position for There {
        const LIST: u8 = 201;
    }

    fn page(query: &str) -> Result<PageRequest<Here>, Problem> {
        PageRequest::take(&mut Query::parse(Some(query)).expect("a query"), 100)
    }

    #[test]
    fn a_cursor_leads_back_to_its_place_and_nowhere_else() {
        let here = Here {
            revision: 7,
            after: b"a/b".to_vec(),
        };
        let cursor = here.to_cursor();
        assert!(There::of_cursor(&cursor).is_err(), "another list's");
        assert_eq!(
            page(&format!("cursor={cursor}&limit=5")),
            Ok(PageRequest {
                limit: 5,
                from: Some(here)
            })
        );
        for (query, limit) in [
            ("", 100),
            ("limit=0", 100),
            ("limit=101", 100),
            ("limit=18446744073709551615", 100),
        ] {
            assert_eq!(page(query).expect("good").limit, limit, "{query}");
        }
        for at in 0..cursor.len() {
            let mut bad = cursor.clone();
            let letter = if &bad[at..=at] == "A" { "B" } else { "A" };
            bad.replace_range(at..=at, letter);
            let kind = Here::of_cursor(&bad).expect_err(&bad).kind;
            assert_eq!(kind, ProblemKind::InvalidCursor);
        }
        for bad in [
            "",
            "A",
            "AQ==",
            &cursor[1..],
            &format!("{cursor}A"),
            &"A".repeat(MAX_LETTERS + 4),
        ] {
            assert!(Here::of_cursor(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_link_asks_the_same_from_there_on() {
        for (uri, link) in [
            ("/v1/a", "</v1/a?cursor=X>; rel=\"next\""),
            (
                "/v1/a?limit=2&cursor=W&prefix=%2F&",
                "</v1/a?limit=2&prefix=%2F&cursor=X>; rel=\"next\"",
            ),
        ] {
            assert_eq!(next_link(&uri.parse().expect("a URI"), "X"), link);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[A-Za-z0-9_=-]{0,60}\\PC{0,3}") {
            prop_assert!(Here::of_cursor(&text).is_err());
        }

        #[test]
        fn every_position_survives(revision: u64, after in proptest::collection::vec(any::<u8>(), 0..60)) {
            let here = Here { revision, after };
            prop_assert_eq!(Here::of_cursor(&here.to_cursor()), Ok(here));
        }
    }
}
