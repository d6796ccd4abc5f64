//! How text of strangers is written so that it stays text.

/// What stands for a character that a format cannot hold: U+FFFD.
const REPLACEMENT: char = '\u{fffd}';

/// Appends `text` for HTML, as text or inside a quoted attribute. Control characters and noncharacters are replaced:
/// HTML has no place for them (section 13.2.3.5 of the standard, "preprocessing the input stream").
pub(super) fn html(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || is_noncharacter(c) => out.push(REPLACEMENT),
            c => out.push(c),
        }
    }
}

/// What Unicode sets aside for use inside programs (section 23.7).
fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}

/// Appends `text` for XML 1.0, as text or inside a quoted attribute. Characters that XML 1.0 forbids even as
/// references (section 2.2, production `Char`) are replaced; line ends and tabs are written as references, which
/// attributes keep (section 3.3.3) and line-end handling does not touch (section 2.11).
pub(super) fn xml(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push(REPLACEMENT),
            // Allowed, and discouraged: C1 controls, which terminals obey.
            '\u{7f}'..='\u{9f}' => out.push(REPLACEMENT),
            c => out.push(c),
        }
    }
}

/// Appends `text` for a terminal, on one line: what would move the cursor, change colours, end the line or turn the
/// direction of writing is written as Rust writes it, `\u{1b}`; and so is the backslash, so that what is read is what
/// was there.
pub(super) fn terminal(text: &str, out: &mut String) {
    for c in text.chars() {
        let is_odd = c.is_control()
            || matches!(
                c,
                '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
            );
        match c {
            '\\' => out.push_str("\\\\"),
            c if is_odd => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
}

/// The first `limit` characters of `text`, and whether that is not all.
pub(super) fn clip(text: &str, limit: usize) -> (&str, bool) {
    match text.char_indices().nth(limit) {
        Some((end, _)) => (&text[..end], true),
        None => (text, false),
    }
}
