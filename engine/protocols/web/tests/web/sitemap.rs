//! What sitemaps and feeds list.

use holdfast_web::{
    Limits, Problem, Target, UrlProblem,
    sitemap::{Kind, Sitemap, read},
};
use url::Url;

fn sitemap(text: &str) -> Sitemap {
    let document = Url::parse("https://h/d/sitemap.xml").unwrap();
    read(text.as_bytes(), None, &document, &Limits::default())
}

/// The entries as `kind element target modified`, one a line.
#[track_caller]
fn check(text: &str, kind: Kind, expected: &[&str]) -> Sitemap {
    let sitemap = sitemap(text);
    assert_eq!(sitemap.kind, kind);
    let found: Vec<String> = sitemap
        .entries
        .iter()
        .map(|entry| {
            let target = match &entry.link.target {
                Ok(Target::Web(web)) => web.url.to_string(),
                Ok(Target::Other(scheme)) => format!("{scheme:?}"),
                Err(problem) => format!("! {problem}"),
            };
            let modified = entry.modified.as_deref().map(|date| format!(" {date}"));
            let (kind, element) = (entry.link.kind, &entry.link.element);
            format!("{kind} {element} {target}{}", modified.unwrap_or_default())
        })
        .collect();
    assert_eq!(found, expected, "{:?}", sitemap.problems);
    sitemap
}

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
    <urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n";

#[test]
fn sitemaps_and_their_extensions() {
    let xml = format!(
        "{HEAD}<url><loc> https://h/a?b=1&amp;c=2&#x26;d </loc><lastmod>2026-01-02</lastmod>\
         <changefreq>daily</changefreq><xhtml:link rel=\"alternate\" hreflang=\"de\" href=\"https://h/de?x&amp;y\"/>\
         <image:image><image:loc>https://h/i.png</image:loc><image:title>no</image:title></image:image>\
         <video:video><video:thumbnail_loc>https://h/t.png</video:thumbnail_loc>\
         <video:content_loc>https://h/v.mp4</video:content_loc><video:title>no</video:title></video:video></url>\n\
         <!-- <url><loc>https://h/no</loc></url> -->\n\
         <url>\n <loc><![CDATA[https://h/b]]></loc></url></urlset>"
    );
    let sitemap = check(
        &xml,
        Kind::UrlSet,
        &[
            "sitemap_page loc https://h/a?b=1&c=2&d 2026-01-02",
            "alternate link https://h/de?x&y",
            "sitemap_image image:loc https://h/i.png",
            "sitemap_video video:loc https://h/t.png",
            "sitemap_video video:loc https://h/v.mp4",
            "sitemap_page loc https://h/b",
        ],
    );
    assert_eq!(sitemap.problems, []);
    assert_eq!(sitemap.entries[1].link.hreflang.as_deref(), Some("de"));
    let last = &sitemap.entries[5].link;
    assert_eq!((last.line, last.column, last.ordinal), (6, 2, 5));
}

#[test]
fn indexes_texts_and_feeds() {
    check(
        "<sitemapindex><sitemap><lastmod>2026</lastmod><loc>https://h/1.xml</loc></sitemap>\
         <sitemap><loc>/2.xml</loc></sitemap><url><loc>https://h/3.xml</loc></url></sitemapindex>",
        Kind::Index,
        &[
            "sitemap loc https://h/1.xml 2026",
            "sitemap loc ! the reference is relative, and its base cannot have paths",
            "sitemap loc https://h/3.xml",
        ],
    );
    check(
        "\u{feff}https://h/a\r\n\n  https://h/b\nmailto:x",
        Kind::Text,
        &[
            "sitemap_page  https://h/a",
            "sitemap_page  https://h/b",
            "sitemap_page  Mailto",
        ],
    );
    check("", Kind::Text, &[]);
    check(
        "<rss version='2.0'><channel><title>t</title><link>https://h/</link>\
         <atom:link rel='self' href='feed.xml'/><pubDate>no</pubDate>\
         <item><title>t</title><link>a</link><pubDate>Mon, 02 Jan 2006</pubDate><guid>https://h/no</guid>\
         <enclosure url='e.mp3'/></item><item><guid>https://h/b</guid></item>\
         <item><guid isPermaLink='false'>https://h/no</guid></item></channel></rss>",
        Kind::Rss,
        &[
            "feed link https://h/",
            "other_link link https://h/d/feed.xml",
            "feed link https://h/d/a Mon, 02 Jan 2006",
            "media enclosure https://h/d/e.mp3",
            "feed guid https://h/b",
        ],
    );
    check(
        "<feed xmlns='http://www.w3.org/2005/Atom'><link href='/'/><link rel='self' href='/f'/>\
         <entry><link href='x'/><link rel='next' href='y'/><updated>2026-01-02T03:04:05Z</updated></entry></feed>",
        Kind::Atom,
        &[
            "feed link https://h/",
            "other_link link https://h/f",
            "feed link https://h/d/x 2026-01-02T03:04:05Z",
            "next link https://h/d/y",
        ],
    );
}

#[test]
fn what_is_malformed_is_read_as_far_as_it_goes() {
    let sitemap = check(
        &format!("{HEAD}<url><loc>https://h/a</loc></url>\n<url><loc>https://h/b</loc><"),
        Kind::UrlSet,
        &[
            "sitemap_page loc https://h/a",
            "sitemap_page loc https://h/b",
        ],
    );
    assert!(
        matches!(
            sitemap.problems[..],
            [Problem::MalformedXml { line: 4, .. }]
        ),
        "{sitemap:?}"
    );
    let sitemap = check(
        &format!("{HEAD}<url><loc>https://h/a</loc>"),
        Kind::UrlSet,
        &["sitemap_page loc https://h/a"],
    );
    assert!(matches!(
        sitemap.problems[..],
        [Problem::MalformedXml { .. }]
    ));
    let sitemap = check(
        &format!("{HEAD}<url><loc></loc></url></urlset>"),
        Kind::UrlSet,
        &["sitemap_page loc ! the URL is empty"],
    );
    assert_eq!(sitemap.entries[0].link.target, Err(UrlProblem::Empty));
    let sitemap = check("<html><body>Not found", Kind::Unknown, &[]);
    assert_eq!(
        sitemap.problems,
        [Problem::UnknownRoot {
            root: "html".into()
        }]
    );
    let deep = format!("<urlset>{}", "<x>".repeat(1000));
    let sitemap = check(&deep, Kind::UrlSet, &[]);
    assert!(matches!(
        sitemap.problems[..],
        [Problem::ElementsTooDeep { .. }]
    ));
    check(
        "<urlset><loc>https://h/?&nbsp;&lt;</loc></urlset>",
        Kind::UrlSet,
        &["sitemap_page loc https://h/?&nbsp;%3C"],
    );
}

#[test]
fn entries_are_bounded() {
    let document = Url::parse("https://h/").unwrap();
    let limits = Limits {
        links: 2,
        ..Limits::default()
    };
    for text in [
        "https://h/a\n".repeat(3),
        format!(
            "<urlset>{}</urlset>",
            "<url><loc>https://h/</loc></url>".repeat(3)
        ),
    ] {
        let sitemap = read(text.as_bytes(), None, &document, &limits);
        assert_eq!(sitemap.entries.len(), 2);
        assert_eq!(sitemap.problems, [Problem::TooManyLinks { limit: 2 }]);
    }
}

#[test]
fn encodings_are_those_of_xml() {
    let document = Url::parse("https://h/").unwrap();
    let xml = "<urlset><url><loc>https://h/\u{e9}</loc></url></urlset>";
    let mut utf16 = vec![0xff, 0xfe];
    utf16.extend(xml.encode_utf16().flat_map(u16::to_le_bytes));
    let sitemap = read(&utf16, None, &document, &Limits::default());
    assert_eq!(
        sitemap.entries[0]
            .link
            .target
            .as_ref()
            .unwrap()
            .url()
            .unwrap()
            .path(),
        "/%C3%A9"
    );
}
