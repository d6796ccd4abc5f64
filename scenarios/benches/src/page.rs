//! Reading the links of a page, beside the tokenizer of Servo's parser, html5ever, which does the least that a link
//! extractor on it would do.

use crate::measure::{Result, alone, beside, median, on_cpu};
use holdfast_record::worker::BenchRow;
use holdfast_web::page::{Options, read};
use html5ever::{
    tendril::{ByteTendril, StrTendril},
    tokenizer::{
        BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
        states::RawKind,
    },
};
use std::{cell::RefCell, hint::black_box};
use url::Url;

const ROUNDS: usize = 15;
/// What one party reads in one round.
const ROUND_BYTES: usize = 16 << 20;
/// Items of the page, each with a link and a picture.
const ITEMS: usize = 400;

/// Measures.
pub fn rows() -> Result<Vec<BenchRow>> {
    let document = Url::parse("https://example.com/shop/flowers/roses.html")?;
    let html = typical_page(ITEMS);
    let with = |fingerprint| Options {
        fingerprint,
        ..Options::default()
    };
    let plain = with(false);
    let full = with(true);
    let ours = read(html.as_bytes(), None, &document, &plain).links;
    let links = ours.len();
    let in_attributes = ours.iter().filter(|link| !link.attribute.is_empty());
    let ours: Vec<String> = in_attributes.map(|link| link.raw.clone()).collect();
    let theirs = rival(html.as_bytes(), &document)?;
    if !ours.iter().eq(theirs.iter().map(|(raw, _)| raw)) {
        return Err("they do not find the same links".into());
    }
    let turns = ROUND_BYTES / html.len();
    let megabytes = (turns * html.len()) as f64 / 1e6;
    let rate = |work: &dyn Fn() -> usize| {
        let ((), seconds) = on_cpu(|| {
            for _ in 0..turns {
                black_box(work());
            }
        });
        megabytes / seconds
    };
    let page = || black_box(html.as_bytes());
    let (mut rates, mut fulls, mut rivals) = (Vec::new(), Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=ROUNDS {
        let measured = [
            rate(&|| read(page(), None, &document, &plain).links.len()),
            rate(&|| read(page(), None, &document, &full).links.len()),
            rate(&|| rival(page(), &document).map_or(0, |links| links.len())),
        ];
        if round > 0 {
            rates.push(measured[0]);
            fulls.push(measured[1]);
            rivals.push(measured[2]);
        }
    }
    let what = format!(
        "medians of {ROUNDS} rounds of {} MiB, a page of {} KiB with {links} links",
        ROUND_BYTES >> 20,
        html.len() >> 10
    );
    let unit = "MB per CPU second";
    let speed = median(rates);
    Ok(vec![
        beside(
            "a page read",
            speed,
            unit,
            ("html5ever's tokenizer", median(rivals)),
            &format!(
                "{what}, ours: charset, links with place and text, style sheets, names of fragments, title and \
                 directives, the rival: the attributes href and src resolved, and nothing else"
            ),
        ),
        alone(
            "a page read, with its fingerprint",
            median(fulls),
            unit,
            &format!("{what}, the words of its text hashed as well, by which soft 404s are told"),
        ),
        alone(
            "links",
            speed * links as f64 / (html.len() as f64 / 1e6),
            "links per CPU second",
            &format!("{what}, without the fingerprint"),
        ),
    ])
}

/// The links of the page as somebody would read them who has the tokenizer alone: as written, and resolved.
fn rival(html: &[u8], document: &Url) -> Result<Vec<(String, Option<Url>)>> {
    let html: StrTendril = ByteTendril::from_slice(html)
        .try_reinterpret()
        .map_err(|_| "the page is UTF-8")?;
    let queue = BufferQueue::default();
    queue.push_back(html);
    let sink = Sink {
        document,
        links: RefCell::default(),
    };
    let tokenizer = Tokenizer::new(sink, TokenizerOpts::default());
    let _ = tokenizer.feed(&queue);
    tokenizer.end();
    Ok(tokenizer.sink.links.into_inner())
}

struct Sink<'a> {
    document: &'a Url,
    links: RefCell<Vec<(String, Option<Url>)>>,
}

impl TokenSink for Sink<'_> {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let Token::TagToken(Tag {
            kind: TagKind::StartTag,
            name,
            attrs,
            ..
        }) = token
        else {
            return TokenSinkResult::Continue;
        };
        let mut links = self.links.borrow_mut();
        for attribute in attrs {
            if matches!(&*attribute.name.local, "href" | "src") {
                let target = self.document.join(&attribute.value).ok();
                links.push((attribute.value.to_string(), target));
            }
        }
        match &*name {
            "script" => TokenSinkResult::RawData(RawKind::ScriptData),
            "style" => TokenSinkResult::RawData(RawKind::Rawtext),
            "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
            _ => TokenSinkResult::Continue,
        }
    }
}

/// A page as a shop might have it: navigation, lists of pictures, text, a little script and style.
fn typical_page(items: usize) -> String {
    let mut html = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Roses &amp; more</title>\n\
         <link rel=\"stylesheet\" href=\"/css/main.css?v=3\">\
         <link rel=\"canonical\" href=\"https://example.com/roses\">\n\
         <style>body { margin: 0; background: #fff url(\"/img/paper.png\") } .item { float: left }</style>\n\
         <script>window.settings = { \"a\": \"<b>\", list: [1, 2, 3] };</script>\n</head>\n<body class=\"page\">\n",
    );
    for item in 0..items {
        html.push_str(&format!(
            "<div class=\"item item-{item} border rounded\" id=\"item-{item}\" data-price=\"{item}.99\">\n  \
             <h2 class=\"title\">Climbing rose number {item}</h2>\n  \
             <a class=\"link\" href=\"/shop/flowers/rose-{item}.html?from=list&amp;page=2\" title=\"Rose {item}\">\
             <img class=\"thumb\" src=\"../img/rose-{item}.jpg\" alt=\"A rose in bloom\" \
             width=\"200\" height=\"100\"></a>\n  \
             <p>Flowers from June to October in clusters of up to thirty blossoms; hardy to &minus;20&nbsp;degrees \
             and resistant to black spot. Plant it in full sun, 60&nbsp;cm from a wall, and give it water \
             in dry summers. It grows to three metres and wants a support that carries it; cut it in spring.</p>\n  \
             <p>Sent from our nursery in pots of four litres, from March on, within a week of your order.</p>\n  \
             <!-- stock: {item} -->\n</div>\n"
        ));
    }
    html.push_str("</body>\n</html>\n");
    html
}
