//! The prose of a model web.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// How many sections an ordinary page has; their ids are `s0` and on.
pub(super) const SECTIONS: usize = 4;

/// A transparent picture of one pixel.
pub(super) const PICTURE: &[u8] = &[
    0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 0x00, 0x00, 0x00, 0x0D, 0x49, 0x48, 0x44, 0x52,
    0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x06, 0x00, 0x00, 0x00, 0x1F, 0x15, 0xC4,
    0x89, 0x00, 0x00, 0x00, 0x0D, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9C, 0x63, 0x00, 0x01, 0x00, 0x00,
    0x05, 0x00, 0x01, 0x0D, 0x0A, 0x2D, 0xB4, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4E, 0x44, 0xAE,
    0x42, 0x60, 0x82,
];

const WORDS: [&str; 40] = [
    "river", "stone", "harbour", "winter", "letter", "garden", "engine", "market", "signal",
    "copper", "meadow", "ladder", "window", "paper", "journey", "island", "kettle", "lantern",
    "mirror", "needle", "orchard", "pebble", "quarry", "ribbon", "saddle", "timber", "valley",
    "willow", "anchor", "basket", "candle", "drawer", "feather", "granite", "hollow", "ivory",
    "jigsaw", "keeper", "linen", "marble",
];

/// Words in sentences.
fn prose(words: usize, rng: &mut ChaCha8Rng) -> String {
    let mut text = String::new();
    for i in 0..words {
        let word = WORDS[rng.random_range(0..WORDS.len())];
        text += match i % 12 {
            0 => "The ",
            _ => " ",
        };
        text += word;
        if i % 12 == 11 {
            text += ".\n";
        }
    }
    text
}

/// An ordinary page: sections with ids and prose, and the links between them.
pub(super) fn page(number: usize, head: &str, links: &str, rng: &mut ChaCha8Rng) -> String {
    let title = WORDS[rng.random_range(0..WORDS.len())];
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>Page {number}: {title}</title>\n{head}</head>\n<body>\n<h1>Of the {title}</h1>\n"
    );
    html += links;
    for section in 0..SECTIONS {
        html += &format!(
            "<h2 id=\"s{section}\">Section {section}</h2>\n<p>{}</p>\n",
            prose(84, rng)
        );
    }
    html += "</body>\n</html>\n";
    html
}

/// A small page.
pub(super) fn small(body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>A page apart</title></head>\n\
         <body>\n{body}\n</body>\n</html>\n"
    )
}

/// What a site shows for what it does not have.
pub(super) fn missing() -> String {
    small(
        "<h1>Page not found</h1>\n<p>We are sorry: the page that you are looking for does not exist, or has been \
         removed. Please check the address, or go back to our <a href=\"/\">home page</a>.</p>",
    )
}
