//! Whatever comes, nothing panics, places are in range, and limits are kept.

use holdfast_web::{
    Limits, Link, Problem, charset, css, header,
    page::{Options, parse, read},
    robots::{ProductToken, Robots},
    sitemap, soft404, srcset, urls,
};
use proptest::prelude::*;
use url::Url;

/// Pieces from which documents of all kinds are put together, whole or broken.
const PIECES: &[&str] = &[
    "<a href=x>",
    "<a href='",
    "\"",
    "'",
    ">",
    "</a>",
    "<",
    "</",
    "<!--",
    "-->",
    "<base href=/y/>",
    "<base href=http://>",
    "<iframe srcdoc='<a href=q>'>",
    "<iframe srcdoc=\"",
    "<style>",
    "</style>",
    "<script>",
    "</script>",
    "<svg>",
    "</svg>",
    "<title>",
    "</title>",
    "<textarea>",
    "<template>",
    "</template>",
    "<math><mi>",
    "<![CDATA[",
    "]]>",
    "<img srcset='a 1x,",
    "<p id=\u{e9}\u{1f339}>",
    "<meta charset=utf-16>",
    "<meta http-equiv=refresh content='1;url=",
    "\r\n",
    "\r",
    "\n",
    "\0",
    "&amp;",
    "&#0;",
    "&#x1F339;",
    "&notit;",
    "\u{1f339}",
    "\u{feff}",
    "style='",
    "url(",
    ")",
    "url(\"",
    "image-set('",
    "@import '",
    "\\",
    "\\\n",
    "\\26 ",
    "/*",
    "*/",
    ";",
    "{",
    "}",
    "#",
    "1px",
    "User-agent: *",
    "User-agent: FooBot",
    "Disallow: /",
    "Allow: *",
    "Crawl-delay: 1e400",
    "*a",
    "$",
    "%",
    "%41",
    "%zz",
    ":",
    "<?xml version='1.0'?>",
    "<urlset>",
    "<url>",
    "<loc>",
    "https://h/a",
    "</loc>",
    "</url>",
    "<lastmod>",
    "<image:image>",
    "<rss>",
    "<item>",
    "<link>",
    "&#xD800;",
    "&bogus;",
    "<feed>",
    "<link href='x' rel='next'/>",
    "<x",
    "/>",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "120",
    ", ",
    " ",
    "rel=\"next",
    "; url=",
    "//",
    "?",
];

fn document() -> Url {
    Url::parse("https://h/d/p?q").unwrap()
}

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(PIECES).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => "[a-z/=]{1,12}",
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        text().prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..300),
        (
            text(),
            prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8)
        )
            .prop_map(|(text, changes)| {
                let mut bytes = text.into_bytes();
                for (at, byte) in changes {
                    if !bytes.is_empty() {
                        let at = at.index(bytes.len());
                        bytes[at] = byte;
                    }
                }
                bytes
            }),
    ]
}

/// Small enough that random documents reach them.
fn limits() -> Limits {
    Limits {
        links: 12,
        url_bytes: 40,
        raw_bytes: 12,
        attribute_bytes: 60,
        attributes: 4,
        style_bytes: 80,
        text_chars: 10,
        title_chars: 10,
        fragments: 3,
        fragment_bytes: 20,
        nesting: 2,
        problems: 4,
    }
}

/// What holds for the links of any document.
fn check(links: &[Link], problems: &[Problem], text: Option<&str>, limits: &Limits) {
    assert!(links.len() <= limits.links && problems.len() <= limits.problems + 1);
    for (at, link) in links.iter().enumerate() {
        assert_eq!(link.ordinal as usize, at);
        assert!(link.raw.len() <= limits.raw_bytes);
        assert!(link.text.chars().count() <= limits.text_chars);
        assert_eq!(link.text.trim(), link.text);
        if let Some(text) = text {
            let lines: Vec<&str> = text.split('\n').flat_map(lines_of).collect();
            let line = lines
                .get(link.line as usize - 1)
                .expect("the line is there");
            assert!(
                link.column as usize <= line.chars().count() + 1,
                "{link:?} in {line:?}"
            );
        }
        if let Ok(target) = &link.target
            && let Some(url) = target.url()
        {
            assert!(matches!(url.scheme(), "http" | "https") && url.fragment().is_none());
            let key = urls::key(url);
            assert_eq!(urls::key(&Url::parse(key.as_str()).unwrap()), key);
        }
    }
}

/// The lines of what stands between two `\n`, if `\r` ends lines as well; the one before `\n` does not.
fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    text.strip_suffix('\r').unwrap_or(text).split('\r')
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_page(html in text(), fingerprint in any::<bool>()) {
        for limits in [limits(), Limits::default()] {
            let options = Options { limits, fingerprint };
            let page = parse(&html, &document(), &options);
            check(&page.links, &page.problems, Some(&html), &options.limits);
            prop_assert!(page.fragments.names().count() <= options.limits.fragments);
            prop_assert_eq!(page.fingerprint.is_some(), fingerprint);
            prop_assert!(page.title.is_none_or(|t| t.chars().count() <= options.limits.title_chars));
        }
    }

    #[test]
    fn a_tag_stands_where_its_link_says(before in text(), after in text()) {
        let html = format!("{before}-->\"'></textarea></title></style></script></svg><img src=mark-here>{after}");
        let page = parse(&html, &document(), &Options::default());
        for link in page.links.iter().filter(|link| link.raw == "mark-here") {
            let line: Vec<&str> = html.split('\n').flat_map(lines_of).collect();
            let from: String = line[link.line as usize - 1].chars().skip(link.column as usize - 1).collect();
            let start = if html.contains("srcdoc") { "<" } else { "<img src=mark-here" };
            prop_assert!(from.starts_with(start), "{:?} {from:?}", (link.line, link.column));
        }
    }

    #[test]
    fn any_bytes(bytes in bytes(), content_type in text()) {
        let options = Options { limits: limits(), fingerprint: true };
        let page = read(&bytes, Some(&content_type), &document(), &options);
        check(&page.links, &page.problems[..page.problems.len().min(5)], None, &options.limits);
        let sitemap = sitemap::read(&bytes, Some(&content_type), &document(), &options.limits);
        prop_assert!(sitemap.entries.len() <= options.limits.links);
        let crawler = ProductToken::new("FooBot").unwrap();
        let robots = Robots::parse(&bytes, &crawler);
        robots.allows(&content_type);
        prop_assert!(robots.allows("/robots.txt"));
        prop_assert!(robots.crawl_delay().is_none_or(|s| (0.0..=300.0).contains(&s)));
        charset::decode_css(&bytes, None);
        charset::prescan(&bytes);
    }

    #[test]
    fn any_text(text in text()) {
        let limits = limits();
        let sheet = css::parse(&text, &document(), &limits);
        check(&sheet.links, &sheet.problems, Some(&text), &limits);
        for found in css::urls(&text) {
            prop_assert!(text.is_char_boundary(found.offset));
        }
        for candidate in srcset::candidates(&text) {
            prop_assert!(!candidate.is_empty() && !candidate.ends_with(','));
        }
        for sitemap in [sitemap::parse_xml(&text, &document(), &limits), sitemap::parse_text(&text, &limits)] {
            let links: Vec<Link> = sitemap.entries.into_iter().map(|entry| entry.link).collect();
            check(&links, &sitemap.problems, Some(&text), &limits);
        }
        prop_assert!(header::links(&text, &document(), 0, &limits).len() <= limits.links);
        header::refresh(&text);
        header::parameter(&text, "rel");
        soft404::is_not_found_title(&text);
    }

    /// The matcher against the obvious one, which tries everything.
    #[test]
    fn wildcards_are_what_they_seem(rule in "[/*ab]{0,8}[$]?", path in "/[ab/]{0,8}") {
        fn matches(rule: &[u8], path: &[u8]) -> bool {
            match rule {
                [] => true,
                b"$" => path.is_empty(),
                [b'*', rest @ ..] => (0..=path.len()).any(|skip| matches(rest, &path[skip..])),
                [first, rest @ ..] => path.first() == Some(first) && matches(rest, &path[1..]),
            }
        }
        let is_rule = rule.starts_with(['/', '*']);
        let crawler = ProductToken::new("FooBot").unwrap();
        let robots = Robots::parse(format!("User-agent: *\nDisallow: {rule}").as_bytes(), &crawler);
        prop_assert_eq!(!robots.allows(&path), is_rule && matches(rule.as_bytes(), path.as_bytes()));
    }
}
