use super::{CRAWL_DELAY_LIMIT_SECONDS, LINE_LIMIT_BYTES, PARSE_LIMIT_BYTES, is_token_byte};

/// A line that says something.
pub enum Line<'a> {
    UserAgent(&'a [u8]),
    Rule { is_allow: bool, value: &'a [u8] },
    CrawlDelay(f64),
    Sitemap(&'a [u8]),
}

/// Whom a `user-agent` line names.
pub enum Agent<'a> {
    Any,
    Token(&'a [u8]),
}

/// The lines of a file that say something, in their order.
pub fn lines(file: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let (file, is_cut) = match file.get(..PARSE_LIMIT_BYTES) {
        Some(start) => (start, file.len() > PARSE_LIMIT_BYTES),
        None => (file, false),
    };
    let end = if is_cut {
        // Half a line could forbid or allow more than the whole.
        let last = file.iter().rposition(|byte| matches!(byte, b'\n' | b'\r'));
        last.map_or(0, |at| at + 1)
    } else {
        file.len()
    };
    // `\r\n` makes an empty line between, which says nothing.
    skip_byte_order_mark(&file[..end])
        .split(|byte| matches!(byte, b'\n' | b'\r'))
        .filter_map(line)
}

/// Skips a byte order mark, or what is left of one.
fn skip_byte_order_mark(file: &[u8]) -> &[u8] {
    let mark = b"\xef\xbb\xbf";
    let same = file.iter().zip(mark).take_while(|(a, b)| a == b).count();
    &file[same..]
}

fn line(line: &[u8]) -> Option<Line<'_>> {
    let line = &line[..line.len().min(LINE_LIMIT_BYTES)];
    let line = line.split(|byte| *byte == b'#').next()?.trim_ascii();
    let (key, value) = match line.iter().position(|byte| *byte == b':') {
        Some(colon) => (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii()),
        None => without_colon(line)?,
    };
    Some(match Key::of(key)? {
        Key::UserAgent => Line::UserAgent(value),
        Key::Allow => Line::Rule {
            is_allow: true,
            value,
        },
        Key::Disallow => Line::Rule {
            is_allow: false,
            value,
        },
        Key::CrawlDelay => Line::CrawlDelay(seconds(value)?),
        Key::Sitemap if value.is_empty() => return None,
        Key::Sitemap => Line::Sitemap(value),
    })
}

/// A key and its value with white space between them: exactly two words, so that prose is not taken for rules.
fn without_colon(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = line.iter().position(|byte| matches!(byte, b' ' | b'\t'))?;
    let (key, value) = (&line[..space], line[space..].trim_ascii());
    let is_one_word = !value.iter().any(|byte| matches!(byte, b' ' | b'\t'));
    is_one_word.then_some((key, value))
}

enum Key {
    UserAgent,
    Allow,
    Disallow,
    CrawlDelay,
    Sitemap,
}

impl Key {
    fn of(key: &[u8]) -> Option<Key> {
        let is = |names: &[&str]| {
            let mut names = names.iter();
            names.any(|name| key.eq_ignore_ascii_case(name.as_bytes()))
        };
        if is(&["user-agent", "useragent", "user agent"]) {
            Some(Key::UserAgent)
        } else if is(&["allow"]) {
            Some(Key::Allow)
        } else if is(&[
            "disallow",
            "dissallow",
            "dissalow",
            "disalow",
            "diasllow",
            "disallaw",
        ]) {
            Some(Key::Disallow)
        } else if is(&["crawl-delay", "crawldelay"]) {
            Some(Key::CrawlDelay)
        } else if is(&["sitemap", "site-map"]) {
            Some(Key::Sitemap)
        } else {
            None
        }
    }
}

/// The number of a `crawl-delay` line; what is no number of seconds says nothing.
fn seconds(value: &[u8]) -> Option<f64> {
    let seconds: f64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (seconds >= 0.0).then(|| seconds.min(CRAWL_DELAY_LIMIT_SECONDS))
}

/// Whom a `user-agent` line names: everybody, if it is `*` and perhaps more after a space; else the product token at
/// its start.
pub fn agent(value: &[u8]) -> Agent<'_> {
    match value {
        [b'*'] | [b'*', b' ' | b'\t', ..] => Agent::Any,
        _ => {
            let end = value.iter().position(|byte| !is_token_byte(*byte));
            Agent::Token(&value[..end.unwrap_or(value.len())])
        }
    }
}
