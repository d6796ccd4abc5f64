//! No text of a site can change the form of a report: what was written is read back, as text.

use crate::sample;
use holdfast_links::{
    LinkResult, Verdict,
    report::{Format, Report, ReportOptions},
};
use html5gum::{DefaultEmitter, Token, Tokenizer};
use proptest::prelude::*;
use quick_xml::{Reader, events::Event};

/// Texts that want to be something else, and any others.
fn text() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "<",
        ">",
        "&",
        "\"",
        "'",
        "</script>",
        "<!--",
        "-->",
        "]]>",
        "<![CDATA[",
        "&lt;",
        "&#0;",
        "=",
        "+",
        "-",
        "@",
        "\t",
        "\r",
        "\n",
        "\r\n",
        ",",
        ";",
        "\0",
        "\u{1b}[2J",
        "\u{9b}31m",
        "\u{202e}",
        "\u{2028}",
        "\u{fffe}",
        "\u{ffff}",
        "\u{85}",
        "{0}",
        "[a](b)",
        "\\",
        "javascript:alert(1)",
        "😀",
        "é",
        "＝",
        "{{title}}",
        " onload=x ",
        "`",
        "%00",
    ]);
    let hostile = prop::collection::vec(pieces, 0..8).prop_map(|pieces| pieces.concat());
    prop_oneof![hostile, any::<String>()]
}

fn verdict() -> impl Strategy<Value = Option<Verdict>> {
    prop::option::weighted(0.9, prop::sample::select(Verdict::ALL.to_vec()))
}

prop_compose! {
    /// A link whose every text is a stranger's.
    fn link()(
        texts in prop::array::uniform8(text()),
        verdict in verdict(),
        has_source in any::<bool>(),
        line in 0..3_u32,
    ) -> LinkResult {
        let [source, element, text, raw, target, moved, reason, detail] = texts;
        let mut link = sample::link(1, None, &target);
        link.source = has_source.then_some(source);
        link.line = line;
        link.final_url = verdict.map(|_| moved.clone());
        link.redirects.push(holdfast_links::Redirect { url: raw.clone(), status: 302, to: moved });
        (link.element, link.text, link.raw, link.reason, link.detail) = (element, text, raw, reason, detail);
        link.verdict = verdict;
        link
    }
}

fn links() -> impl Strategy<Value = Vec<LinkResult>> {
    prop::collection::vec(link(), 1..5).prop_map(|mut links| {
        for (n, link) in links.iter_mut().enumerate() {
            link.id = n as u64 + 1;
        }
        links
    })
}

fn write(format: Format, results: &[LinkResult]) -> String {
    let mut job = sample::job(results);
    // The job's own texts come from strangers too.
    job.target_domain = results[0].target.clone();
    job.start_urls = vec![results[0].raw.clone()];
    job.failure = Some(results[0].detail.clone());
    Report::whole(format, &job, &ReportOptions::default(), results)
}

/// Reads CSV by RFC 4180, and by nothing but that.
fn read_csv(text: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut field = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted;
            loop {
                let (part, after) = rest.split_once('"').expect("a closing quote");
                field.push_str(part);
                match after.strip_prefix('"') {
                    Some(after) => {
                        field.push('"');
                        rest = after;
                    }
                    None => {
                        rest = after;
                        break;
                    }
                }
            }
        } else {
            let end = rest
                .find([',', '\r', '\n', '"'])
                .expect("an end of the line");
            field.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        row.push(field);
        if let Some(after) = rest.strip_prefix(',') {
            rest = after;
        } else {
            rest = rest.strip_prefix("\r\n").expect("CRLF after a field");
            rows.push(std::mem::take(&mut row));
        }
    }
    assert!(row.is_empty(), "the last line ends");
    rows
}

/// What XML can hold of a text, as the reports hold it.
fn in_xml(text: &str) -> String {
    let replace = |c: char| match c {
        '\t' | '\n' | '\r' => c,
        '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(replace).collect()
}

/// Every element with its attributes.
fn read_xml(xml: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut reader = Reader::from_str(xml);
    reader.config_mut().check_end_names = true;
    let mut elements = Vec::new();
    let mut depth = 0;
    loop {
        match reader.read_event().expect("well-formed XML") {
            Event::Start(start) => {
                depth += 1;
                elements.push(element(&start));
            }
            Event::Empty(start) => elements.push(element(&start)),
            Event::End(_) => depth -= 1,
            Event::Eof => break,
            Event::Decl(_) | Event::Text(_) | Event::GeneralRef(_) => {}
            other => panic!("{other:?} is not of a report"),
        }
    }
    assert_eq!(depth, 0);
    elements
}

fn element(start: &quick_xml::events::BytesStart<'_>) -> (String, Vec<(String, String)>) {
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let attributes = start.attributes().map(|attribute| {
        let attribute = attribute.expect("an attribute");
        let raw = utf8(&attribute.value);
        assert!(!raw.contains(['\n', '\r', '\t', '<']), "{raw:?}");
        let value = quick_xml::escape::unescape(&raw).expect("known references");
        (utf8(attribute.key.as_ref()), value.into_owned())
    });
    (utf8(start.name().as_ref()), attributes.collect())
}

fn attribute<'a>(attributes: &'a [(String, String)], name: &str) -> &'a str {
    let found = attributes.iter().find(|(key, _)| key == name);
    &found.unwrap_or_else(|| panic!("an attribute {name}")).1
}

/// The tags of a page, each with the names of its attributes, and its scripts and styles.
fn read_html(page: &str) -> (Vec<String>, Vec<String>, Vec<(String, String)>) {
    let mut tags = Vec::new();
    let mut codes = Vec::new();
    let mut values = Vec::new();
    let mut code: Option<String> = None;
    // Scripts and styles are read as such, as a browser does.
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    for token in Tokenizer::new_with_emitter(page, emitter) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => {
                let name = String::from_utf8_lossy(&tag.name).into_owned();
                let mut shape = name.clone();
                for (key, value) in &tag.attributes {
                    let key = String::from_utf8_lossy(key).into_owned();
                    shape.push(' ');
                    shape.push_str(&key);
                    values.push((key, String::from_utf8_lossy(value).into_owned()));
                }
                if name == "script" || name == "style" {
                    code = Some(String::new());
                }
                tags.push(shape);
            }
            Token::EndTag(tag) => {
                codes.extend(code.take());
                tags.push(format!("/{}", String::from_utf8_lossy(&tag.name)));
            }
            Token::String(text) => {
                if let Some(code) = &mut code {
                    code.push_str(&String::from_utf8_lossy(&text));
                }
            }
            Token::Doctype(_) => tags.push("doctype".to_owned()),
            Token::Comment(comment) => panic!("a comment: {comment:?}"),
            Token::Error(error) => panic!("not the HTML that was meant: {error:?}"),
        }
    }
    (tags, codes, values)
}

/// The same link with texts that want nothing, of the same presence.
fn harmless(link: &LinkResult) -> LinkResult {
    let calm = |text: &str| {
        let is_web = text.split_once("://").is_some_and(|(scheme, _)| {
            scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
        });
        match (text.is_empty(), is_web) {
            (true, _) => String::new(),
            (false, true) => "https://example.org/".to_owned(),
            (false, false) => "calm".to_owned(),
        }
    };
    let mut plain = link.clone();
    plain.source = link.source.as_deref().map(calm);
    plain.final_url = link.final_url.as_deref().map(calm);
    for redirect in &mut plain.redirects {
        redirect.url = calm(&redirect.url);
        redirect.to = calm(&redirect.to);
    }
    for text in [
        &mut plain.element,
        &mut plain.text,
        &mut plain.raw,
        &mut plain.target,
        &mut plain.reason,
        &mut plain.detail,
    ] {
        *text = calm(text);
    }
    plain
}

proptest! {
    #[test]
    fn json_is_read_back(links in links()) {
        let json: serde_json::Value = serde_json::from_str(&write(Format::Json, &links)).unwrap();
        let results: Vec<LinkResult> = serde_json::from_value(json["results"].clone()).unwrap();
        prop_assert_eq!(&results, &links);
        let lines = write(Format::JsonLines, &links);
        let results: Vec<LinkResult> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        prop_assert_eq!(&results, &links);
    }

    #[test]
    fn csv_is_read_back_and_holds_no_formula(links in links()) {
        let rows = read_csv(&write(Format::Csv, &links));
        prop_assert_eq!(rows.len(), links.len() + 1);
        let column = |name: &str| rows[0].iter().position(|field| field == name).unwrap();
        for (row, link) in rows[1..].iter().zip(&links) {
            prop_assert_eq!(row.len(), rows[0].len());
            for field in row {
                let is_formula = field.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
                prop_assert!(!is_formula, "{:?}", field);
            }
            let read = |name: &str| {
                let field = &row[column(name)];
                field.strip_prefix('\'').unwrap_or(field).to_owned()
            };
            prop_assert_eq!(read("source"), link.source.clone().unwrap_or_default());
            prop_assert_eq!(read("element"), link.element.clone());
            prop_assert_eq!(read("text"), link.text.clone());
            prop_assert_eq!(read("raw"), link.raw.clone());
            prop_assert_eq!(read("target"), link.target.clone());
            prop_assert_eq!(read("reason"), link.reason.clone());
            prop_assert_eq!(read("detail"), link.detail.clone());
            prop_assert_eq!(read("final_url"), link.final_url.clone().unwrap_or_default());
        }
    }

    #[test]
    fn junit_is_read_back(links in links()) {
        let xml = write(Format::Junit, &links);
        // The production Char of XML 1.0; surrogates are no characters here.
        let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
        prop_assert!(xml.chars().all(allowed));
        let elements = read_xml(&xml);
        let cases: Vec<_> = elements.iter().filter(|(name, _)| name == "testcase").collect();
        prop_assert_eq!(cases.len(), links.len());
        for ((_, attributes), link) in cases.iter().zip(&links) {
            let page = in_xml(link.source.as_deref().unwrap_or("start pages"));
            prop_assert_eq!(attribute(attributes, "classname"), page);
            prop_assert!(attribute(attributes, "name").starts_with(&in_xml(&link.target)));
        }
        let failures = elements.iter().filter(|(name, _)| name == "failure");
        let broken = links.iter().filter(|link| link.verdict.is_some_and(Verdict::is_broken));
        let mut broken = broken.peekable();
        for (_, attributes) in failures {
            let link = broken.next().expect("a broken link");
            prop_assert_eq!(attribute(attributes, "type"), in_xml(&link.reason));
            prop_assert!(attribute(attributes, "message").ends_with(&in_xml(&link.detail)));
        }
        prop_assert!(broken.peek().is_none());
    }

    #[test]
    fn sarif_texts_are_no_templates_and_no_links(links in links()) {
        let sarif: serde_json::Value = serde_json::from_str(&write(Format::Sarif, &links)).unwrap();
        let results = sarif["runs"][0]["results"].as_array().unwrap();
        for result in results {
            let text = result["message"]["text"].as_str().unwrap();
            let unfolded = text.replace("{{", "").replace("}}", "");
            prop_assert!(!unfolded.contains(['{', '}']), "{}", text);
            prop_assert!(!text.contains("]("), "{}", text);
            prop_assert!(!text.contains(char::is_control));
        }
    }

    #[test]
    fn html_keeps_its_form(links in links()) {
        let page = write(Format::Html, &links);
        let plain: Vec<LinkResult> = links.iter().map(harmless).collect();
        // Groups are made by target, and pages with one have another form: each link is shown alone.
        for (link, plain) in links.iter().zip(&plain) {
            let (tags, codes, values) = read_html(&write(Format::Html, std::slice::from_ref(link)));
            let (plain_tags, plain_codes, _) = read_html(&write(Format::Html, std::slice::from_ref(plain)));
            prop_assert_eq!(tags, plain_tags);
            prop_assert_eq!(codes, plain_codes);
            for (key, value) in values {
                prop_assert!(!key.starts_with("on"), "{}", key);
                if key == "href" {
                    let lower = value.to_ascii_lowercase();
                    prop_assert!(lower.starts_with("http://") || lower.starts_with("https://"), "{}", value);
                }
            }
        }
        let (_, codes, _) = read_html(&page);
        prop_assert_eq!(codes.len(), 2);
    }

    #[test]
    fn text_cannot_steer_a_terminal(links in links()) {
        let text = write(Format::Text, &links);
        prop_assert!(!text.contains(|c: char| c != '\n' && c.is_control()));
        let turns = ['\u{202e}', '\u{2066}', '\u{2028}'];
        prop_assert!(!text.contains(turns));
        // A line for each link that is reported, blank ones between pages, and the summary.
        let reported = |link: &&LinkResult| {
            !matches!(link.verdict, None | Some(Verdict::Alive | Verdict::Unverifiable))
        };
        let lines = text.lines().filter(|line| !line.is_empty()).count();
        prop_assert_eq!(lines, links.iter().filter(reported).count() + 1);
    }
}
