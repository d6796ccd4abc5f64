//! Documents in which links have to be found.

use super::{Case, Scene, fault, fine, open};
use crate::web::{
    Place, Verdict,
    answer::{Behaviour, Body, Reply},
    text,
};
use bytes::Bytes;
use flate2::{Compression, Crc, write::DeflateEncoder, write::GzEncoder, write::ZlibEncoder};
use std::{io::Write, time::Duration};

use Verdict::{Alive, Dead};

/// What a bomb unfolds to, bytes.
const BOMB_BYTES: usize = 256 << 20;

pub(super) const CASES: [Case; 36] = [
    fault("base-href", |s| {
        let (page, below) = (s.path(".html"), s.path("/below/"));
        let head = format!("<base href=\"{below}\"><base href=\"/second-is-ignored/\">");
        s.own_html(
            &page,
            &format!("{head}<a href=\"missing.html\">relative to the base</a>"),
        );
        let missing = format!("{below}missing.html");
        s.expect(&page, Place::Base, &missing, &[Dead]);
    }),
    fault("link-canonical", |s| {
        in_own_page(s, "<link rel=\"canonical\" href=\"{}\">")
    }),
    fault("meta-refresh", |s| {
        in_own_page(s, "<meta http-equiv=\"Refresh\" content=\"300; URL='{}'\">");
    }),
    fault("frameset", |s| {
        let (page, missing) = (s.path(".html"), s.path("/missing.html"));
        let html = format!(
            "<!doctype html><html><head><title>Frames</title></head>\n\
             <frameset cols=\"50%,50%\"><frame src=\"{missing}\"><frame src=\"/p/0.html\"></frameset></html>"
        );
        s.own_page(&page, Reply::html(200, html));
        s.expect(&page, Place::OwnPage, &missing, &[Dead]);
    }),
    fault("header-link", |s| {
        let (page, missing) = (s.path(".html"), s.path("/missing.css"));
        let value = format!("<{missing}>; rel=\"stylesheet\", </p/0.html>; rel=next");
        let reply = Reply::html(200, text::small("<p>See the head.</p>"));
        s.own_page(&page, reply.with("link", &value));
        s.expect(&page, Place::Header, &missing, &[Dead]);
    }),
    fault("header-refresh", |s| {
        let (page, missing) = (s.path(".html"), s.path("/missing.html"));
        let reply = Reply::html(200, text::small("<p>Wait.</p>"));
        s.own_page(&page, reply.with("refresh", &format!("300; url={missing}")));
        s.expect(&page, Place::Header, &missing, &[Dead]);
    }),
    fault("sheet-url", |s| {
        in_sheet(s, ".a { background: #fff url( \"{}\" ) /* ; */ no-repeat }");
    }),
    fault("sheet-import", |s| {
        in_sheet(s, "@charset \"utf-8\";\n@import url({}) screen;\n")
    }),
    fault("sheet-escaped", |s| {
        // `\6d` is an m, and the blank ends the escape (CSS Syntax, §4.3.7).
        let (sheet, missing) = (s.path(".css"), s.path("/missing.png"));
        let escaped = missing.replace("/missing", "/\\6d issing");
        serve_sheet(
            s,
            &sheet,
            &format!(".b {{ background: url('{escaped}') }}\n"),
        );
        s.expect(&sheet, Place::Sheet, &missing, &[Dead]);
    }),
    fault("sitemap", |s| {
        let missing = s.path("/missing.html");
        s.list_in_sitemap(&missing, &[Dead]);
    }),
    fault("page-gzip", |s| coded(s, "gzip", gzip)),
    fault("page-deflate", |s| coded(s, "deflate", zlib)),
    fault("page-deflate-raw", |s| coded(s, "deflate", deflate)),
    fault("page-chunked", |s| {
        let (page, html, missing) = page_with_missing(s);
        let reply = Reply::html(200, "").carrying(Body::Chunked(html.into()));
        s.own_page(&page, reply);
        s.expect(&page, Place::OwnPage, &missing, &[Dead]);
    }),
    fault("page-xhtml", |s| {
        let (page, missing) = (s.path(".xhtml"), s.path("/missing"));
        let xhtml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <html xmlns=\"http://www.w3.org/1999/xhtml\"><head><title>X</title></head>\n\
             <body><p><a href=\"{missing}\">strict</a></p></body></html>\n"
        );
        s.own_page(&page, Reply::of(200, "application/xhtml+xml", xhtml));
        s.expect(&page, Place::OwnPage, &missing, &[Dead]);
    }),
    fault("page-utf-16", |s| {
        let (page, html, missing) = page_with_missing(s);
        let mut bytes = vec![0xFF, 0xFE];
        bytes.extend(html.encode_utf16().flat_map(u16::to_le_bytes));
        s.own_page(&page, Reply::of(200, "text/html", bytes));
        s.expect(&page, Place::OwnPage, &missing, &[Dead]);
    }),
    fault("page-windows-1252", |s| {
        // The path has an é, which the page has as one byte and the request as two, percent-encoded.
        let page = s.path(".html");
        let (before, after) = (s.path("/caf"), ".html");
        let mut bytes = b"<!doctype html><meta charset=windows-1252><a href=\"".to_vec();
        bytes.extend(before.bytes().chain([0xE9]).chain(after.bytes()));
        bytes.extend(b"\">x</a>");
        s.own_page(&page, Reply::of(200, "text/html", bytes));
        let missing = format!("{before}\u{e9}{after}");
        s.expect(&page, Place::OwnPage, &missing, &[Dead]);
    }),
    fault("page-malformed", |s| {
        let body = "</div><table><tr><a href=/p/0.html>x<td <p></table><![CDATA[ x ]]><a\u{0}b><a =x href='{}' \
                    <b>y</a><";
        in_own_page(s, body);
    }),
    fault("page-behind-redirect", |s| {
        // Relative to where the page was found, not to where it was looked for.
        let (path, page) = (s.path(""), s.path("/deep/down.html"));
        s.serve(&path, Reply::redirect(302, &page));
        s.a(&path, &[Alive]);
        s.own_html(&page, "<a href=\"missing.html\">beside it</a>");
        s.expect(&page, Place::OwnPage, "missing.html", &[Dead]);
    }),
    fault("page-late-link", |s| {
        let filler = "<p>Much to read before the link comes.</p>\n".repeat(20_000);
        in_own_page(s, &format!("{filler}<a href=\"{{}}\">at last</a>"));
    }),
    fine("markup-in-plain-text", |s| {
        let (page, decoy) = (s.path(".txt"), s.path("/decoy"));
        let html = text::small(&format!("<a href=\"{decoy}\">only text</a>"));
        s.serve(&page, Reply::of(200, "text/plain", html));
        s.a(&page, &[Alive]);
        s.expect(&page, Place::OwnPage, &decoy, &[]);
    }),
    fine("links-of-a-redirect", |s| {
        // What a redirect says in its body is for those who do not follow it.
        let (page, decoy) = (s.path(""), s.path("/decoy"));
        let html = text::small(&format!("<a href=\"{decoy}\">elsewhere</a>"));
        let wall = Reply::redirect(302, "/p/0.html");
        s.serve(&page, wall.carrying(Body::Full(html.into())));
        s.a(&page, &[Alive]);
        s.expect(&page, Place::OwnPage, &decoy, &[]);
    }),
    fine("no-content-type", |s| {
        let body = Body::Full(Bytes::from_static(b"plainly bytes"));
        alive(s, Reply::empty(200).carrying(body));
    }),
    fine("image-called-html", |s| {
        alive(s, Reply::html(200, text::PICTURE))
    }),
    fine("html-called-image", |s| {
        alive(
            s,
            Reply::of(200, "image/png", text::small("<p>No picture.</p>")),
        );
    }),
    fine("unknown-charset", |s| {
        let html = text::small("<p>Ordinary.</p>");
        alive(s, Reply::of(200, "text/html; charset=x-klingon", html));
    }),
    fine("bad-content-type", |s| {
        alive(
            s,
            Reply::of(
                200,
                "text/html;;charset=\"utf-8; ,",
                text::small("<p>x</p>"),
            ),
        );
    }),
    fine("empty-200", |s| alive(s, Reply::html(200, ""))),
    fine("not-utf-8", |s| {
        alive(s, Reply::html(200, &b"<p>\xFF\xFE\xC3\x28</p>"[..]))
    }),
    fine("nested-deeply", |s| {
        let html = format!("{}x{}", "<div>".repeat(20_000), "</div>".repeat(20_000));
        alive(s, Reply::html(200, text::small(&html)));
    }),
    fine("hreflang-and-canonical", |s| {
        let path = s.path(".html");
        let markup = format!(
            "<link rel=\"canonical\" href=\"{path}\"><link rel=\"alternate\" hreflang=\"x-default\" href=\"{path}\">"
        );
        s.own_html(&path, &markup);
        for _ in 0..2 {
            s.expect(&path, Place::OwnPage, &path, &[Alive]);
        }
    }),
    fine("listed-in-sitemap", |s| {
        let path = s.path(".html");
        s.serve(
            &path,
            Reply::html(200, text::small("<p>Only the sitemap knows.</p>")),
        );
        s.list_in_sitemap(&path, &[Alive]);
    }),
    open("unknown-coding", |s| {
        let reply = Reply::html(200, text::small("x")).with("content-encoding", "x-rot13");
        maybe(s, reply);
    }),
    open("gzip-that-is-none", |s| {
        let reply = Reply::html(200, text::small("x")).with("content-encoding", "gzip");
        maybe(s, reply);
    }),
    open("gzip-bomb", |s| {
        let reply = Reply::html(200, bomb()).with("content-encoding", "gzip");
        maybe(s, reply);
    }),
    open("drip", |s| {
        let body = Body::Drip {
            bytes: text::small("<p>Slow.</p>").into(),
            pause: Duration::from_secs(1),
        };
        maybe(s, Reply::html(200, "").carrying(body));
    })
    .slow(),
];

/// A page of its own with a link to what is not there in `body`, where `{}` stands.
fn in_own_page(s: &mut Scene<'_>, body: &str) {
    let (page, missing) = (s.path(".html"), s.path("/missing.html"));
    s.own_html(&page, &body.replace("{}", &missing));
    s.expect(&page, Place::OwnPage, &missing, &[Dead]);
}

/// The same in a style sheet.
fn in_sheet(s: &mut Scene<'_>, css: &str) {
    let (sheet, missing) = (s.path(".css"), s.path("/missing.css"));
    serve_sheet(s, &sheet, &css.replace("{}", &missing));
    s.expect(&sheet, Place::Sheet, &missing, &[Dead]);
}

fn serve_sheet(s: &mut Scene<'_>, path: &str, css: &str) {
    s.serve(path, Reply::of(200, "text/css", css.to_string()));
    s.link(Place::named("link-stylesheet"), path, &[Alive]);
}

fn page_with_missing(s: &Scene<'_>) -> (String, String, String) {
    let (page, missing) = (s.path(".html"), s.path("/missing.html"));
    let html = text::small(&format!("<p><a href=\"{missing}\">not there</a>"));
    (page, html, missing)
}

/// A page that comes in a content coding to those who accept it.
fn coded(s: &mut Scene<'_>, coding: &'static str, encode: fn(&[u8]) -> Vec<u8>) {
    let (page, html, missing) = page_with_missing(s);
    let encoded = Reply::html(200, encode(html.as_bytes()))
        .with("content-encoding", coding)
        .with("vary", "accept-encoding");
    s.own_page(
        &page,
        Behaviour::ByCoding {
            coding,
            encoded: encoded.into(),
            plain: Reply::html(200, html).into(),
        },
    );
    s.expect(&page, Place::OwnPage, &missing, &[Dead]);
}

fn alive(s: &mut Scene<'_>, reply: Reply) {
    let path = s.path("");
    s.serve(&path, reply);
    s.a(&path, &[Alive]);
}

/// Whether a document that cannot be read is there, is a matter of taste.
fn maybe(s: &mut Scene<'_>, reply: Reply) {
    let path = s.path("");
    s.serve(&path, reply);
    s.a(&path, &[Alive, Dead]);
}

const IN_MEMORY: &str = "writing to memory succeeds";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect(IN_MEMORY);
    encoder.finish().expect(IN_MEMORY)
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect(IN_MEMORY);
    encoder.finish().expect(IN_MEMORY)
}

/// What some servers call `deflate`, though RFC 9110, §8.4.1.2, means zlib's format.
fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect(IN_MEMORY);
    encoder.finish().expect(IN_MEMORY)
}

/// Zeros, a thousand times smaller than they unfold: one flushed block again and again (RFC 1952).
fn bomb() -> Vec<u8> {
    let zeros = vec![0; 1 << 20];
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&zeros).expect(IN_MEMORY);
    // Ends on a byte and refers to nothing before, so that it can be repeated.
    encoder.flush().expect(IN_MEMORY);
    let block = encoder.get_ref().clone();
    let last = encoder.finish().expect(IN_MEMORY).split_off(block.len());
    let mut gzip = vec![0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF];
    let mut crc = Crc::new();
    for _ in 0..BOMB_BYTES / zeros.len() {
        gzip.extend(&block);
        crc.update(&zeros);
    }
    gzip.extend(last);
    gzip.extend(crc.sum().to_le_bytes());
    gzip.extend(crc.amount().to_le_bytes());
    gzip
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_bomb_is_small_and_unfolds() {
        let bomb = bomb();
        assert!(bomb.len() < BOMB_BYTES / 500, "{} bytes", bomb.len());
        let mut decoder = flate2::read::GzDecoder::new(&bomb[..]);
        let unfolded = std::io::copy(&mut decoder, &mut std::io::sink());
        assert_eq!(unfolded.unwrap(), BOMB_BYTES as u64);
    }

    #[test]
    fn a_raw_deflate_body_has_no_header_of_zlib() {
        let mut text = String::new();
        let raw = deflate(b"hello");
        let mut decoder = flate2::read::DeflateDecoder::new(&raw[..]);
        decoder.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        assert_ne!(raw[0], zlib(b"hello")[0]);
    }
}
