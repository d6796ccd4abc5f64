//! What robots.txt files say, from `fixtures/robots`, and the limits of their reader.

use holdfast_web::robots::{
    CRAWL_DELAY_LIMIT_SECONDS, LINE_LIMIT_BYTES, PARSE_LIMIT_BYTES, ProductToken, Robots,
    SITEMAP_LIMIT, StatusRule,
};
use serde::Deserialize;

const CASES: &str = include_str!("../../../../../fixtures/robots/cases.json");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    before: Vec<u8>,
    file: Option<String>,
    #[serde(default)]
    lines: Vec<String>,
    crawler: String,
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    disallow: Vec<String>,
    #[serde(default)]
    sitemaps: Vec<String>,
    crawl_delay: Option<f64>,
}

fn foo_bot() -> ProductToken {
    ProductToken::new("FooBot").unwrap()
}

#[test]
fn files_say_what_the_rfc_says() {
    let cases: Vec<Case> = serde_json::from_str(CASES).unwrap();
    assert!(cases.len() > 80, "{}", cases.len());
    for case in cases {
        let mut file = case.before;
        file.extend(case.file.unwrap_or_else(|| case.lines.join("\n")).bytes());
        let crawler = ProductToken::new(&case.crawler).unwrap();
        let robots = Robots::parse(&file, &crawler);
        for path in &case.allow {
            assert!(robots.allows(path), "{}: {path} is allowed", case.name);
        }
        for path in &case.disallow {
            assert!(!robots.allows(path), "{}: {path} is not allowed", case.name);
        }
        assert_eq!(robots.sitemaps(), case.sitemaps, "{}", case.name);
        assert_eq!(robots.crawl_delay(), case.crawl_delay, "{}", case.name);
        assert!(!robots.is_cut());
    }
}

#[test]
fn the_status_decides_first() {
    let file = b"User-agent: *\nDisallow: /x";
    let check = |status, rule, allows_x: bool, allows_y: bool| {
        assert_eq!(StatusRule::of(status), rule, "{status:?}");
        let robots = Robots::for_status(status, file, &foo_bot());
        assert_eq!(
            (robots.allows("/x"), robots.allows("/y")),
            (allows_x, allows_y),
            "{status:?}"
        );
        assert!(robots.allows("/robots.txt"));
    };
    check(Some(200), StatusRule::Parse, false, true);
    check(Some(204), StatusRule::Parse, false, true);
    check(Some(302), StatusRule::Follow, true, true);
    for gone in [400, 401, 403, 404, 410, 451] {
        check(Some(gone), StatusRule::AllowAll, true, true);
    }
    for failed in [Some(429), Some(500), Some(503), Some(600), Some(100), None] {
        check(failed, StatusRule::DisallowAll, false, false);
    }
}

#[test]
fn product_tokens_are_checked() {
    for token in ["Foobot", "Foobot-Bar", "Foo_Bar", "a"] {
        assert_eq!(
            ProductToken::new(token).unwrap().as_str(),
            token.to_lowercase()
        );
    }
    for token in [
        "",
        "\u{30c4}",
        "Foobot*",
        " Foobot ",
        "Foobot/2.1",
        "Foobot Bar",
        "Foo1",
    ] {
        assert_eq!(ProductToken::new(token).unwrap_err().token, token);
    }
}

#[test]
fn a_long_file_is_read_up_to_the_limit() {
    let mut file = b"User-agent: *\nDisallow: /first\n".to_vec();
    file.resize(PARSE_LIMIT_BYTES - 10, b'\n');
    // The limit cuts `Disallow: /a/b` so that it would forbid more than it does.
    file.extend(b"Disallow: /a/b\nDisallow: /late\n");
    let robots = Robots::parse(&file, &foo_bot());
    assert!(robots.is_cut() && !robots.allows("/first"));
    assert!(robots.allows("/a") && robots.allows("/late"));
    file.truncate(PARSE_LIMIT_BYTES);
    assert!(!Robots::parse(&file, &foo_bot()).is_cut());
}

#[test]
fn long_lines_and_many_lines_are_bounded() {
    let long = "a".repeat(LINE_LIMIT_BYTES);
    let robots = Robots::parse(
        format!("User-agent: *\nDisallow: /{long}b").as_bytes(),
        &foo_bot(),
    );
    assert!(robots.allows("/a") && !robots.allows(&format!("/{long}")));
    let robots = Robots::parse(
        "Sitemap: x\n".repeat(SITEMAP_LIMIT + 1).as_bytes(),
        &foo_bot(),
    );
    assert_eq!(robots.sitemaps().len(), SITEMAP_LIMIT);
    let robots = Robots::parse(b"User-agent: *\nCrawl-delay: inf", &foo_bot());
    assert_eq!(robots.crawl_delay(), Some(CRAWL_DELAY_LIMIT_SECONDS));
}

#[test]
fn the_worst_rule_is_harmless() {
    let rule = "*a".repeat(LINE_LIMIT_BYTES / 2 - 8);
    let file = format!("User-agent: *\nDisallow: /{rule}b");
    let robots = Robots::parse(file.as_bytes(), &foo_bot());
    assert!(robots.allows(&format!("/{}", "a".repeat(8_000))));
}
