//! How fast pages are read: `cargo test -p holdfast-web --release -- --ignored --nocapture speed`.

use crate::random::typical_page;
use holdfast_web::page::{Options, read};
use std::{hint::black_box, time::Duration};
use url::Url;

/// The test's own clock; the crate has none.
#[allow(clippy::disallowed_methods)]
fn timed(what: impl FnOnce()) -> Duration {
    let start = std::time::Instant::now();
    what();
    start.elapsed()
}

#[test]
#[ignore = "a measurement"]
fn speed_of_pages() {
    let document = Url::parse("https://example.com/shop/flowers/roses.html").unwrap();
    let html = typical_page(400);
    let links = read(html.as_bytes(), None, &document, &Options::default())
        .links
        .len();
    println!("{} KiB, {links} links", html.len() >> 10);
    for fingerprint in [false, true] {
        let options = Options {
            fingerprint,
            ..Options::default()
        };
        let rounds = (64 << 20) / html.len();
        let best = (0..5)
            .map(|_| {
                timed(|| {
                    for _ in 0..rounds {
                        black_box(read(black_box(html.as_bytes()), None, &document, &options));
                    }
                })
            })
            .min()
            .unwrap();
        let speed = (rounds * html.len()) as f64 / best.as_secs_f64() / 1e6;
        let pace = (rounds * links) as f64 / best.as_secs_f64() / 1e6;
        println!("fingerprint {fingerprint}: {speed:.0} MB/s, {pace:.2} million links/s");
        assert!(speed > 1.0);
    }
}
