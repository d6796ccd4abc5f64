//! The URL standard's own tests, from `fixtures/url`, against the parser that the engine uses.

use serde::Deserialize;
use url::Url;

const CASES: &str = include_str!("../../../../../fixtures/url/urltestdata.json");

/// Where the parser differs from the standard, as `input` or `input against base`: `file` URLs only, none of the
/// web. An upgrade that changes this list is to be looked at.
const DEVIATIONS: &[&str] = &[
    "/ against file://h/C:/a/b",
    "file:\\\\\\\\//",
    "file:\\\\\\\\\\\\\\\\",
    "file:\\\\\\\\\\\\\\\\?fox",
    "file:\\\\\\\\\\\\\\\\#guppy",
    "file://spider///",
    "file:\\\\\\\\localhost//",
    "file://\\\\/localhost//cat",
    "file://localhost//a//../..//",
    "/////mouse against file:///elephant",
    "\\\\/localhost//pig against file://lion/",
    "//localhost//pig against file://lion/",
    "/..//localhost//pig against file://lion/",
    "C| against file://host/dir/file",
    "C| against file://host/D:/dir1/dir2/file",
    "C|# against file://host/dir/file",
    "C|? against file://host/dir/file",
    "C|/ against file://host/dir/file",
    "C|\\n/ against file://host/dir/file",
    "C|\\\\ against file://host/dir/file",
    "/c:/foo/bar against file://host/path",
    "file://example.net/C:/",
    "file://1.2.3.4/C:/",
    "file://[1::8]/C:/",
    "C|/ against file://host/",
    "/C:/ against file://host/",
    "file:C:/ against file://host/",
    "file:/C:/ against file://host/",
    "file://localhost//a//../..//foo",
    "file://localhost////foo",
    "file:////foo",
    "file:////one/two against file:///",
    "////one/two against file:///",
    "file:///.// against file:////",
    "file:.//p",
    "file:/.//p",
];

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Comment(String),
    Case(Box<Case>),
}

#[derive(Deserialize)]
struct Case {
    input: String,
    base: Option<String>,
    #[serde(default)]
    failure: bool,
    #[serde(default)]
    href: String,
    #[serde(default)]
    protocol: String,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    port: String,
    #[serde(default)]
    pathname: String,
    #[serde(default)]
    search: String,
    #[serde(default)]
    hash: String,
}

impl Case {
    fn name(&self) -> String {
        match &self.base {
            Some(base) => format!(
                "{} against {}",
                self.input.escape_debug(),
                base.escape_debug()
            ),
            None => self.input.escape_debug().to_string(),
        }
    }

    fn holds(&self) -> bool {
        let base = self
            .base
            .as_deref()
            .map(|base| Url::parse(base).expect("bases are URLs"));
        let url = Url::options().base_url(base.as_ref()).parse(&self.input);
        let Ok(url) = url else { return self.failure };
        // What the standard calls `search` and `hash` is empty for a lone `?` or `#`.
        let part = |mark: char, part: Option<&str>| match part {
            None | Some("") => String::new(),
            Some(part) => format!("{mark}{part}"),
        };
        !self.failure
            && url.as_str() == self.href
            && format!("{}:", url.scheme()) == self.protocol
            && url.host_str().unwrap_or_default() == self.hostname
            && url.port().map(|port| port.to_string()).unwrap_or_default() == self.port
            && url.path() == self.pathname
            && part('?', url.query()) == self.search
            && part('#', url.fragment()) == self.hash
    }
}

#[test]
fn the_parser_is_the_standards_but_for_known_deviations() {
    let entries: Vec<Entry> = serde_json::from_str(CASES).unwrap();
    let cases: Vec<Box<Case>> = entries
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::Case(case) => Some(case),
            Entry::Comment(text) => {
                assert!(!text.is_empty(), "a comment says something");
                None
            }
        })
        .collect();
    assert!(cases.len() > 800, "{}", cases.len());
    let failed: Vec<String> = cases
        .iter()
        .filter(|case| !case.holds())
        .map(|case| case.name())
        .collect();
    assert_eq!(failed, DEVIATIONS, "{failed:#?}");
}
