use super::{collector::Collector, foreign::Space, tag::Tag};
use crate::{LinkKind, Problem, Rel, header, srcset, text};

/// How many targets of a `ping` are taken.
const PING_LIMIT: usize = 16;

impl Collector<'_, '_, '_> {
    /// Takes what a start tag links to, what it names, and what it says about the page.
    pub(super) fn element(&mut self, tag: &Tag) {
        self.global_attributes(tag);
        match self.space() {
            Space::Html => self.html(tag),
            Space::Svg => self.svg(tag),
            // It has no links that browsers follow.
            Space::Math => {}
        }
    }

    fn html(&mut self, tag: &Tag) {
        match &*tag.name {
            b"a" => self.anchor_element(tag),
            b"area" => {
                if let Some(href) = tag.get(b"href") {
                    let (rel, alt) = (rel(tag), tag.get(b"alt").unwrap_or_default());
                    let limits = self.sink.limits;
                    if let Some(draft) = self.add(LinkKind::Area, &href, tag, "href") {
                        draft.link.rel = rel;
                        draft.push_text(&alt, limits);
                    }
                    self.ping(tag);
                }
            }
            b"link" => self.link_element(tag),
            b"img" | b"image" => {
                self.with_alt(LinkKind::Image, tag, "src");
                self.srcset(LinkKind::Image, tag, "srcset");
            }
            b"source" => {
                self.attribute(LinkKind::Media, tag, "src");
                self.srcset(LinkKind::Image, tag, "srcset");
            }
            b"audio" | b"track" => self.attribute(LinkKind::Media, tag, "src"),
            b"video" => {
                self.attribute(LinkKind::Media, tag, "src");
                self.attribute(LinkKind::Poster, tag, "poster");
            }
            b"script" => self.attribute(LinkKind::Script, tag, "src"),
            b"iframe" => match tag.get(b"srcdoc") {
                // Of the two, browsers show the document that is there.
                Some(html) => self.nest(&html),
                None => self.attribute(LinkKind::Frame, tag, "src"),
            },
            b"frame" => self.attribute(LinkKind::Frame, tag, "src"),
            b"embed" => self.attribute(LinkKind::Embed, tag, "src"),
            b"object" => self.attribute(LinkKind::Embed, tag, "data"),
            b"form" => {
                self.is_form_post = tag.get(b"method").is_some_and(|method| is_not_get(&method));
                let kind = form_kind(self.is_form_post);
                self.attribute(kind, tag, "action");
            }
            b"button" => self.form_action(tag),
            b"input" => {
                self.form_action(tag);
                if tag
                    .get(b"type")
                    .is_some_and(|kind| kind.eq_ignore_ascii_case("image"))
                {
                    self.with_alt(LinkKind::Image, tag, "src");
                }
            }
            b"blockquote" | b"q" | b"ins" | b"del" => self.attribute(LinkKind::Cite, tag, "cite"),
            b"meta" => self.meta(tag),
            b"base" => self.base(tag),
            // Not of the current standard, but of all browsers.
            b"body" | b"table" | b"thead" | b"tbody" | b"tfoot" | b"tr" | b"td" | b"th" => {
                self.attribute(LinkKind::Image, tag, "background");
            }
            _ => {}
        }
    }

    fn global_attributes(&mut self, tag: &Tag) {
        for (name, value) in tag.attributes() {
            match name {
                b"id" => self.fragment(&tag.value(value)),
                b"name" if &*tag.name == b"a" && self.space() == Space::Html => {
                    self.fragment(&tag.value(value))
                }
                b"style" => self.add_style(&tag.value(value), tag),
                _ => {}
            }
        }
    }

    /// A name that a fragment can point to.
    fn fragment(&mut self, name: &str) {
        if self.is_outermost() && !self.sink.page.fragments.add(name, self.sink.limits) {
            self.sink
                .problems
                .add_once(Problem::TooManyFragments, self.sink.limits);
        }
    }

    /// The link of an attribute, if it is there.
    fn attribute(&mut self, kind: LinkKind, tag: &Tag, attribute: &'static str) {
        if let Some(reference) = tag.get(attribute.as_bytes()) {
            self.add(kind, &reference, tag, attribute);
        }
    }

    /// An image: its text is what stands for it, also within a link around it.
    fn with_alt(&mut self, kind: LinkKind, tag: &Tag, attribute: &'static str) {
        let alt = tag.get(b"alt").unwrap_or_default();
        if !alt.is_empty() {
            self.push_anchor_text(&alt);
        }
        let limits = self.sink.limits;
        if let Some(reference) = tag.get(attribute.as_bytes())
            && let Some(draft) = self.add(kind, &reference, tag, attribute)
        {
            draft.push_text(&alt, limits);
        }
    }

    fn srcset(&mut self, kind: LinkKind, tag: &Tag, attribute: &'static str) {
        if let Some(value) = tag.get(attribute.as_bytes()) {
            for candidate in srcset::candidates(&value) {
                if self.add(kind, candidate, tag, attribute).is_none() {
                    break;
                }
            }
        }
    }

    fn anchor_element(&mut self, tag: &Tag) {
        // A link in a link ends the first.
        self.anchor = None;
        if let Some(href) = tag.get(b"href") {
            let hreflang = hreflang(tag);
            let rel = rel(tag);
            if let Some(draft) = self.add(LinkKind::Anchor, &href, tag, "href") {
                draft.link.rel = rel;
                draft.link.hreflang = hreflang;
                self.open_anchor();
            }
            self.ping(tag);
        }
    }

    fn ping(&mut self, tag: &Tag) {
        if let Some(ping) = tag.get(b"ping") {
            for target in ping.split_ascii_whitespace().take(PING_LIMIT) {
                self.add(LinkKind::Ping, target, tag, "ping");
            }
        }
    }

    fn link_element(&mut self, tag: &Tag) {
        let kind = match tag.get(b"rel") {
            Some(rel) => relation_kind(&rel),
            // Microdata has links without a relation.
            None => tag.has(b"itemprop").then_some(LinkKind::OtherLink),
        };
        let Some(kind) = kind else { return };
        if let Some(href) = tag.get(b"href") {
            let (rel, hreflang) = (rel(tag), hreflang(tag));
            if let Some(draft) = self.add(kind, &href, tag, "href") {
                draft.link.rel = rel;
                draft.link.hreflang = hreflang;
            }
        }
        if kind == LinkKind::Preload {
            self.srcset(kind, tag, "imagesrcset");
        }
    }

    fn form_action(&mut self, tag: &Tag) {
        if let Some(action) = tag.get(b"formaction") {
            let method = tag.get(b"formmethod");
            let is_post = method.map_or(self.is_form_post, |method| is_not_get(&method));
            self.add(form_kind(is_post), &action, tag, "formaction");
        }
    }

    fn meta(&mut self, tag: &Tag) {
        if let Some(label) = tag.get(b"charset")
            && self.is_outermost()
            && self.sink.page.meta_charset.is_none()
        {
            let label = text::prefix(text::trim(&label), 64).to_ascii_lowercase();
            self.sink.page.meta_charset = Some(label);
            self.sink.page.is_meta_charset_early = self.is_early();
        }
        let Some(content) = tag.get(b"content") else {
            return;
        };
        if let Some(pragma) = tag.get(b"http-equiv")
            && text::trim(&pragma).eq_ignore_ascii_case("refresh")
            && let Some(header::Refresh { url: Some(url), .. }) = header::refresh(&content)
        {
            self.add(LinkKind::Refresh, url, tag, "content");
        }
        if !self.is_outermost() {
            return;
        }
        if let Some(name) = tag.get(b"name")
            && text::trim(&name).eq_ignore_ascii_case("robots")
        {
            self.sink.page.robots.add(&content);
        }
        let is_social = [b"property".as_slice(), b"name"].iter().any(|attribute| {
            tag.get(attribute)
                .is_some_and(|name| is_social(text::trim(&name)))
        });
        if is_social {
            self.add(LinkKind::Social, &content, tag, "content");
        }
    }

    fn base(&mut self, tag: &Tag) {
        let Some(href) = tag.get(b"href") else { return };
        let (line, _) = self.place();
        let base = &mut self.sink.bases[self.document as usize];
        // Only the first counts.
        if base.href.is_none() {
            base.href = Some((href.into_owned(), line));
        }
    }

    /// An element of SVG, where a link is `href` or, in older documents, `xlink:href`.
    fn svg(&mut self, tag: &Tag) {
        let kind = match &*tag.name {
            b"a" => LinkKind::Anchor,
            b"image" | b"feimage" => LinkKind::Image,
            b"script" => LinkKind::Script,
            b"use" | b"mpath" | b"textpath" | b"pattern" | b"lineargradient"
            | b"radialgradient" | b"filter" | b"cursor" | b"tref" => LinkKind::Svg,
            _ => return,
        };
        if kind == LinkKind::Anchor {
            self.anchor = None;
        }
        let link = [
            ("href", tag.get(b"href")),
            ("xlink:href", tag.get(b"xlink:href")),
        ];
        for (attribute, reference) in link {
            if let Some(reference) = reference {
                let added = self.add(kind, &reference, tag, attribute).is_some();
                if added && kind == LinkKind::Anchor && !tag.is_self_closing {
                    self.open_anchor();
                }
                // With both, `href` counts.
                break;
            }
        }
    }
}

fn rel(tag: &Tag) -> Rel {
    tag.get(b"rel")
        .map(|rel| Rel::parse(&rel))
        .unwrap_or_default()
}

fn hreflang(tag: &Tag) -> Option<String> {
    tag.get(b"hreflang")
        .map(|lang| text::prefix(text::trim(&lang), 64).to_owned())
}

/// `post` and `dialog` are not GET; anything unknown is.
fn is_not_get(method: &str) -> bool {
    method.eq_ignore_ascii_case("post") || method.eq_ignore_ascii_case("dialog")
}

fn form_kind(is_post: bool) -> LinkKind {
    if is_post {
        LinkKind::FormPost
    } else {
        LinkKind::FormGet
    }
}

/// Properties of Open Graph and of Twitter cards whose value is a URL.
fn is_social(name: &str) -> bool {
    const NAMES: [&str; 13] = [
        "og:url",
        "og:image",
        "og:image:url",
        "og:image:secure_url",
        "og:video",
        "og:video:url",
        "og:video:secure_url",
        "og:audio",
        "og:audio:url",
        "og:audio:secure_url",
        "twitter:image",
        "twitter:image:src",
        "twitter:player",
    ];
    NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// What kind of link a `rel` makes, in a `<link>` or a `Link` header: the first in this list that it has. `None`
/// if it is no link: no relation at all, or only a hint to connect to somebody.
pub fn relation_kind(rel: &str) -> Option<LinkKind> {
    let has = |names: &[&str]| {
        rel.split_ascii_whitespace()
            .any(|token| names.iter().any(|name| token.eq_ignore_ascii_case(name)))
    };
    let is_hint = |token: &str| {
        token.eq_ignore_ascii_case("dns-prefetch") || token.eq_ignore_ascii_case("preconnect")
    };
    const ICONS: [&str; 5] = [
        "icon",
        "apple-touch-icon",
        "apple-touch-icon-precomposed",
        "apple-touch-startup-image",
        "mask-icon",
    ];
    Some(if has(&["stylesheet"]) {
        LinkKind::Stylesheet
    } else if has(&ICONS) {
        LinkKind::Icon
    } else if has(&["canonical"]) {
        LinkKind::Canonical
    } else if has(&["alternate"]) {
        LinkKind::Alternate
    } else if has(&["next"]) {
        LinkKind::Next
    } else if has(&["prev", "previous"]) {
        LinkKind::Prev
    } else if has(&["manifest"]) {
        LinkKind::Manifest
    } else if has(&["preload", "modulepreload", "prefetch"]) {
        LinkKind::Preload
    } else if rel.split_ascii_whitespace().all(is_hint) {
        return None;
    } else {
        LinkKind::OtherLink
    })
}
