//! What a page links to, one place of HTML at a time.

use holdfast_web::{
    Limits, LinkKind, Page, Problem, Target, UrlProblem,
    page::{Options, parse, read},
};
use url::Url;

pub fn page(html: &str) -> Page {
    page_with(html, Limits::default())
}

fn page_with(html: &str, limits: Limits) -> Page {
    let document = Url::parse("https://h/d/p").unwrap();
    parse(
        html,
        &document,
        &Options {
            limits,
            fingerprint: false,
        },
    )
}

/// The links of a page as `kind element@attribute target`, one a line.
#[track_caller]
pub fn check(html: &str, expected: &[&str]) {
    let page = page(html);
    let found: Vec<String> = page
        .links
        .iter()
        .map(|link| {
            let target = match &link.target {
                Ok(Target::Web(web)) => match &web.fragment {
                    Some(fragment) => format!("{}#{fragment}", web.url),
                    None => web.url.to_string(),
                },
                Ok(Target::Other(scheme)) => format!("{scheme:?}"),
                Err(problem) => format!("! {problem}"),
            };
            let target = target.replace("https://h/d/", "");
            format!("{} {}@{} {target}", link.kind, link.element, link.attribute)
        })
        .collect();
    assert_eq!(found, expected, "{html}\n{:?}", page.problems);
    for (at, link) in page.links.iter().enumerate() {
        assert_eq!(link.ordinal as usize, at);
    }
}

#[test]
fn links_that_a_reader_follows() {
    check("<a href=x>t</a>", &["anchor a@href x"]);
    check("<A HREF='x?a=1&amp;b=&#50;'>", &["anchor a@href x?a=1&b=2"]);
    check(
        "<a href=' \n y '><a href=''><a href='#f'><a>",
        &["anchor a@href y", "anchor a@href p", "anchor a@href p#f"],
    );
    check("<a href=x href=y>", &["anchor a@href x"]);
    check(
        "<a href=mailto:a@b><a href='javascript:x()'>",
        &["anchor a@href Mailto", "anchor a@href Javascript"],
    );
    check("<a href=http://>", &["anchor a@href ! the URL has no host"]);
    check(
        "<map><area href=x alt=t ping='y z'></map>",
        &["area area@href x", "ping area@ping y", "ping area@ping z"],
    );
    check(
        "<a ping=x><a href=a ping=' x\ty '>",
        &["anchor a@href a", "ping a@ping x", "ping a@ping y"],
    );
}

#[test]
fn links_of_the_head() {
    check(
        "<link rel=stylesheet href=a><link rel='alternate STYLESHEET' href=b><link rel='shortcut icon' href=c>\
         <link rel=canonical href=d><link rel=alternate hreflang=de href=e><link rel=next href=f>\
         <link rel=prev href=g><link rel=manifest href=h><link rel=modulepreload href=i>\
         <link rel=preload as=image href=j imagesrcset='k 1x, l 2x'><link rel=search href=m>\
         <link rel=dns-prefetch href=//n><link rel=preconnect href=//o><link rel='preconnect dns-prefetch' href=//o>\
         <link href=p><link itemprop=url href=q><link rel=apple-touch-icon href=r><link rel=icon href=''>",
        &[
            "stylesheet link@href a",
            "stylesheet link@href b",
            "icon link@href c",
            "canonical link@href d",
            "alternate link@href e",
            "next link@href f",
            "prev link@href g",
            "manifest link@href h",
            "preload link@href i",
            "preload link@href j",
            "preload link@imagesrcset k",
            "preload link@imagesrcset l",
            "other_link link@href m",
            "other_link link@href q",
            "icon link@href r",
            "icon link@href ! the URL is empty",
        ],
    );
    check(
        "<meta http-equiv=Refresh content='0; url=a'><meta http-equiv=refresh content=5>\
         <meta property=og:image content=b><meta name=twitter:image content=c><meta property=og:title content=d>",
        &[
            "refresh meta@content a",
            "social meta@content b",
            "social meta@content c",
        ],
    );
}

#[test]
fn parts_of_the_page() {
    check(
        "<img src=a srcset='b 1x, c,d 2x'><picture><source srcset=e></picture><video src=f poster=g>\
         <source src=h><track src=i></video><audio src=j></audio><script src=k></script><iframe src=l></iframe>\
         <frame src=m><embed src=n><object data=o></object><input type=image src=p alt=q><input src=r>\
         <body background=s><td background=t>",
        &[
            "image img@src a",
            "image img@srcset b",
            "image img@srcset c,d",
            "image source@srcset e",
            "media video@src f",
            "poster video@poster g",
            "media source@src h",
            "media track@src i",
            "media audio@src j",
            "script script@src k",
            "frame iframe@src l",
            "frame frame@src m",
            "embed embed@src n",
            "embed object@data o",
            "image input@src p",
            "image body@background s",
            "image td@background t",
        ],
    );
}

#[test]
fn forms_and_quotations() {
    check(
        "<form action=a><button formaction=b></form><form method=POST action=c><button formaction=d>\
         <input type=submit formmethod=get formaction=e></form><form method=dialog action=f></form><form></form>\
         <button formaction=g><blockquote cite=h><q cite=i><ins cite=j><del cite=k>",
        &[
            "form_get form@action a",
            "form_get button@formaction b",
            "form_post form@action c",
            "form_post button@formaction d",
            "form_get input@formaction e",
            "form_post form@action f",
            "form_get button@formaction g",
            "cite blockquote@cite h",
            "cite q@cite i",
            "cite ins@cite j",
            "cite del@cite k",
        ],
    );
    assert!(LinkKind::FormGet.is_checkable() && !LinkKind::FormPost.is_checkable());
}

#[test]
fn styles() {
    check(
        "<style>@import 'a';b{c:url(d)}/* url(e) */</style><p style='background:url(&quot;f&quot;)'>\
         <style type=text/x>url(g)</style><style type=''>h{i:image-set('j' 1x)}</style><p style='color:red'>",
        &[
            "css_import style@ a",
            "css style@ d",
            "css p@style f",
            "css style@ j",
        ],
    );
    // Nothing but its end tag ends a style.
    check(
        "<style>a{b:url('</p><a href=x>')}</style><a href=y>",
        &["css style@ %3C/p%3E%3Ca%20href=x%3E", "anchor a@href y"],
    );
    check("<style>a{b:url(c)}", &["css style@ c"]);
}

#[test]
fn svg_has_its_own_links() {
    check(
        "<svg><use href='s.svg#i'/><image xlink:href=a /><a xlink:href=b href=c><text>t</text></a>\
         <lineargradient href='#g'/><style>q{r:url(d)}</style><script href=e></script><title><a href=f></title>\
         <foreignObject><img src=g></foreignObject><img2 src=h></svg><image src=i>",
        &[
            "svg use@href s.svg#i",
            "image image@xlink:href a",
            "anchor a@href c",
            "svg lineargradient@href p#g",
            "css style@ d",
            "script script@href e",
            "anchor a@href f",
            "image img@src g",
            "image image@src i",
        ],
    );
    // An element of HTML ends SVG that was left open; CDATA is text in SVG only.
    check(
        "<svg><g><p><textarea><a href=no></textarea><a href=x>",
        &["anchor a@href x"],
    );
    check(
        "<svg></p><textarea><a href=no></textarea><a href=x>",
        &["anchor a@href x"],
    );
    check(
        "<svg><![CDATA[<a href=no>]]><a href=x></svg><![CDATA[<a href=y>]]>",
        &["anchor a@href x"],
    );
    check("<svg><style><a href=x></style></svg>", &["anchor a@href x"]);
    check(
        "<math><mi><textarea><a href=no></textarea></mi></math><a href=x>",
        &["anchor a@href x"],
    );
}

#[test]
fn what_is_no_markup_has_no_links() {
    check(
        "<!-- <a href=a> --><textarea><a href=b></textarea><script>'<a href=c>'</script><xmp><a href=d></xmp>\
         <title><a href=e></title><iframe><a href=f></iframe><noembed><a href=g></noembed>\
         <noframes><a href=h></noframes><template><a href=i><style>url(j)</style><template><a href=k></template>\
         <a href=l></template><!doctype html '<a href=m>'><?x <a href=n>?></ <a href=o>><a title='<a href=p>'>",
        &[],
    );
    check("<noscript><img src=a></noscript>", &["image img@src a"]);
    check(
        "<script><!--<script></script><a href=no></script>--></script><a href=x>",
        &["anchor a@href x"],
    );
    check(
        "<template shadowrootmode=open><a href=x></template><a href=y>",
        &["anchor a@href x", "anchor a@href y"],
    );
    check("<plaintext><a href=no>", &[]);
    check("<a href=no", &[]);
    check("a<b href=no>c</a href=no>", &[]);
}

#[test]
fn the_first_base_counts_for_all() {
    check(
        "<a href=x><base target=y><base href=/e/><base href=/f/><a href=y><a href='#z'>",
        &[
            "anchor a@href https://h/e/x",
            "anchor a@href https://h/e/y",
            "anchor a@href https://h/e/#z",
        ],
    );
    check(
        "<base href=//o/q><a href=x>",
        &["anchor a@href https://o/x"],
    );
    let page = page("\n<base href=http://><a href=x>");
    assert_eq!(
        page.problems,
        [Problem::InvalidBase {
            line: 2,
            reason: UrlProblem::EmptyHost
        }]
    );
    check("<base href=http://><a href=x>", &["anchor a@href x"]);
    check("<base href=data:,x><a href=y>", &["anchor a@href y"]);
}

#[test]
fn documents_in_documents() {
    check(
        "<iframe src=no srcdoc='<p id=i><a href=x>&lt;a href=y>'></iframe>",
        &["anchor a@href x", "anchor a@href y"],
    );
    check(
        "<base href=/e/><iframe srcdoc='<a href=x><base href=f/><a href=y>'></iframe><a href=z>",
        &[
            "anchor a@href https://h/e/f/x",
            "anchor a@href https://h/e/f/y",
            "anchor a@href https://h/e/z",
        ],
    );
    let html = "<p>\n <iframe srcdoc='<p id=i>\n\n<a href=x>t</a>'></iframe>";
    let page = page(html);
    assert_eq!(
        (page.links[0].line, page.links[0].column),
        (2, 2),
        "the place is the iframe's"
    );
    assert_eq!(page.links[0].text, "t");
    assert!(
        !page.fragments.contains("i"),
        "its names are not the page's"
    );
    let mut nested = "<a href=deep>".to_owned();
    for _ in 0..3 {
        nested = format!(
            "<iframe srcdoc=\"{}\">",
            nested.replace('&', "&amp;").replace('"', "&quot;")
        );
    }
    assert_eq!(self::page(&nested).links.len(), 1);
    let limits = Limits {
        nesting: 2,
        ..Limits::default()
    };
    let page = page_with(&nested, limits);
    assert_eq!(page.links.len(), 0);
    assert_eq!(page.problems, [Problem::TooDeep { line: 1, limit: 2 }]);
}

#[test]
fn texts_and_places() {
    let html = "<a href=1>one\n <b>two</b>\t</a> no\r\n\u{e9}\
        <a href=2><img src=3 alt='a picture'> &amp; more<a\nhref=4>";
    let page = page(html);
    let found: Vec<_> = page
        .links
        .iter()
        .map(|link| (link.line, link.column, link.text.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (1, 1, "one two"),
            (3, 2, "a picture & more"),
            (3, 12, "a picture"),
            (3, 50, ""),
        ]
    );
    let limits = Limits {
        text_chars: 5,
        raw_bytes: 4,
        ..Limits::default()
    };
    let page = page_with("<a href=/abc\u{e9}/def>\u{e9}bc def</a>", limits);
    assert_eq!(page.links[0].text, "\u{e9}bc d");
    assert_eq!(page.links[0].raw, "/abc");
    let url = page.links[0].target.as_ref().unwrap().url().unwrap();
    assert_eq!(url.as_str(), "https://h/abc%C3%A9/def");
}

#[test]
fn what_the_page_says_about_itself() {
    let page = page(
        "<html><meta CHARSET=' UTF-8 '><title> A \n page </title><title>no</title><meta name=Robots content='noindex'>\
         <meta name=robots content=NoFollow><link rel=canonical href=/c><a rel='nofollow UGC external' href=x>\
         <svg><title>neither</title></svg>",
    );
    assert_eq!(page.title.as_deref(), Some("A page"));
    assert_eq!(page.meta_charset.as_deref(), Some("utf-8"));
    assert!(page.is_meta_charset_early);
    assert!(page.robots.noindex && page.robots.nofollow);
    let canonical = page
        .canonical()
        .unwrap()
        .target
        .as_ref()
        .unwrap()
        .url()
        .unwrap();
    assert_eq!(canonical.as_str(), "https://h/c");
    let rel = page.links[1].rel;
    assert!(rel.nofollow && rel.ugc && rel.external && !rel.sponsored);
    let late = format!("{}<meta charset=x>", " ".repeat(1024));
    assert!(!self::page(&late).is_meta_charset_early);
    assert_eq!(self::page("<p>").title, None);
    assert_eq!(self::page("<title></title>").title.as_deref(), Some(""));
    assert_eq!(self::page("<svg><title>t</title></svg>").title, None);
}

#[test]
fn names_for_fragments() {
    let page = page(
        "<p id=a><a name=b><img name=c><svg><g id=d /></svg><template id=t><p id=e></template><a id='f g' name='h'>\
         <p id=''><!-- <p id=i> -->",
    );
    assert_eq!(
        page.fragments.names().collect::<Vec<_>>(),
        ["a", "b", "d", "f g", "h", "t"]
    );
    assert!(page.fragments.contains("f%20g") && !page.fragments.contains("c"));
    let limits = Limits {
        fragments: 1,
        ..Limits::default()
    };
    let page = page_with("<p id=a><p id=b><p id=c>", limits);
    assert_eq!(page.problems, [Problem::TooManyFragments]);
}

#[test]
fn limits_are_kept_and_said() {
    let limits = Limits {
        links: 2,
        ..Limits::default()
    };
    let page = page_with(&"<a href=x>".repeat(5), limits);
    assert_eq!(
        (page.links.len(), &*page.problems),
        (2, &[Problem::TooManyLinks { limit: 2 }][..])
    );
    let limits = Limits {
        attribute_bytes: 20,
        ..Limits::default()
    };
    let page = page_with(
        &format!("\n<a title={} href=x><a href=y>", "t".repeat(30)),
        limits,
    );
    assert_eq!(
        page.problems,
        [Problem::AttributeTooLong { line: 2, limit: 20 }]
    );
    assert_eq!(page.links.len(), 2);
    let limits = Limits {
        attributes: 2,
        ..Limits::default()
    };
    let page = page_with("<a a b href=x><a a href=y>", limits);
    assert_eq!(
        page.problems,
        [Problem::TooManyAttributes { line: 1, limit: 2 }]
    );
    assert_eq!(page.links.len(), 1);
    let limits = Limits {
        style_bytes: 20,
        ..Limits::default()
    };
    let page = page_with("<style>a{b:url(c)} &amp; a{b:url(d)}</style>", limits);
    assert_eq!(
        page.problems,
        [Problem::StyleTooLong { line: 1, limit: 20 }]
    );
    let limits = Limits {
        problems: 2,
        nesting: 0,
        ..Limits::default()
    };
    let page = page_with(&"<iframe srcdoc=x></iframe>".repeat(9), limits);
    assert_eq!(page.problems.len(), 3);
    assert_eq!(page.problems[2], Problem::TooManyProblems);
    let long = "x".repeat(9000);
    let page = self::page(&format!("<a href='{long}'><img src='data:,{long}'>"));
    let too_long = UrlProblem::TooLong {
        bytes: 9000,
        limit: 8192,
    };
    assert_eq!(page.links[0].target, Err(too_long));
    assert!(page.links[0].raw.len() <= Limits::default().raw_bytes);
    assert_eq!(
        page.links[1].target,
        Ok(Target::Other(holdfast_web::Scheme::Data))
    );
}

#[test]
fn bytes_become_text_first() {
    let document = Url::parse("https://h/").unwrap();
    let html = b"<meta charset=latin1><a href='/\xe9?\xe9'>\xe9</a>";
    let page = read(html, None, &document, &Options::default());
    assert_eq!(page.links[0].text, "\u{e9}");
    let page = read(
        html,
        Some("text/html; charset=utf-8"),
        &document,
        &Options::default(),
    );
    assert_eq!(
        page.problems,
        [Problem::Undecodable {
            encoding: "UTF-8".into()
        }]
    );
}
