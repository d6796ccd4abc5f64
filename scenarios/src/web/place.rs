//! The places where a document may hold a link, and what only looks like one.

/// A place in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// An attribute, a declaration, an element of a page's body; see [`Place::markup`].
    Markup(&'static str),
    /// `<base href>`, on a link that is relative to it.
    Base,
    /// A link in a style sheet of its own.
    Sheet,
    /// A field of the response's head: `Link` or `Refresh`.
    Header,
    /// `<loc>` of a sitemap.
    Sitemap,
    /// A page of its own, for what an ordinary page cannot hold.
    OwnPage,
}

/// Every place of a page's body, by name, with its markup around `{}`. All are in the HTML standard, except the
/// metadata of social networks, which is so common that its images break unseen.
pub const PLACES: [(&str, &str); 49] = [
    ("a-href", r#"<a href="{}">a link</a>"#),
    ("a-href-unquoted", "<a class=x href={}>unquoted</a>"),
    ("a-href-single-quotes", "<A HREF='{}'>single quotes</A>"),
    (
        "a-href-white-space",
        "<a\n href = \" \n {} \t\" >white space around it</a>",
    ),
    (
        "a-href-malformed",
        r#"<p <b><a href="{}" href="/not-this-one">broken <i>markup</a></b>"#,
    ),
    (
        "area-href",
        r#"<map name="m"><area shape="rect" coords="0,0,9,9" href="{}" alt="area"></map>"#,
    ),
    (
        "noscript",
        r#"<noscript><a href="{}">no script</a></noscript>"#,
    ),
    ("link-stylesheet", r#"<link rel="stylesheet" href="{}">"#),
    ("link-icon", r#"<link rel="icon" href="{}">"#),
    (
        "link-alternate",
        r#"<link rel="alternate" hreflang="de" href="{}">"#,
    ),
    ("link-next", r#"<link rel="next" href="{}">"#),
    ("link-manifest", r#"<link rel="manifest" href="{}">"#),
    (
        "link-preload",
        r#"<link rel="preload" as="font" href="{}">"#,
    ),
    (
        "link-imagesrcset",
        r#"<link rel="preload" as="image" imagesrcset="{} 2x" imagesizes="50vw">"#,
    ),
    (
        "link-modulepreload",
        r#"<link rel="modulepreload" href="{}">"#,
    ),
    ("img-src", r#"<img src="{}" alt="">"#),
    (
        "img-srcset",
        r#"<img src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=" srcset="{} 100w, data:,x 200w" alt="">"#,
    ),
    (
        "img-srcset-second",
        r#"<img srcset="/asset/0.png 1x,{} 2.5x" src="/asset/0.png" alt="">"#,
    ),
    (
        "source-srcset",
        r#"<picture><source srcset="{}" type="image/webp"><img src="/asset/0.png" alt=""></picture>"#,
    ),
    ("script-src", r#"<script src="{}"></script>"#),
    (
        "script-module",
        r#"<script type="module" src="{}" async></script>"#,
    ),
    ("iframe-src", r#"<iframe src="{}" title="frame"></iframe>"#),
    (
        "iframe-srcdoc",
        r#"<iframe title="f" srcdoc="<p><a href=&quot;{}&quot;>inside</a>"></iframe>"#,
    ),
    ("embed-src", r#"<embed src="{}" type="text/plain">"#),
    (
        "object-data",
        r#"<object data="{}" type="text/plain">none</object>"#,
    ),
    (
        "form-action",
        r#"<form action="{}"><input name="q"><button>Go</button></form>"#,
    ),
    (
        "button-formaction",
        r#"<form><button formaction="{}">Go elsewhere</button></form>"#,
    ),
    (
        "input-formaction",
        r#"<form><input type="submit" formaction="{}"></form>"#,
    ),
    (
        "input-image",
        r#"<form><input type="image" src="{}" alt="Go"></form>"#,
    ),
    ("audio-src", r#"<audio src="{}" controls></audio>"#),
    ("video-src", r#"<video src="{}" controls></video>"#),
    ("video-poster", r#"<video poster="{}"></video>"#),
    (
        "media-source",
        r#"<audio controls><source src="{}" type="audio/ogg"></audio>"#,
    ),
    (
        "track-src",
        r#"<video controls><track kind="captions" src="{}"></video>"#,
    ),
    (
        "blockquote-cite",
        r#"<blockquote cite="{}">quoted</blockquote>"#,
    ),
    ("q-cite", r#"<p><q cite="{}">quoted</q>"#),
    ("ins-cite", r#"<p><ins cite="{}">inserted</ins>"#),
    ("del-cite", r#"<p><del cite="{}">deleted</del>"#),
    (
        "meta-og-image",
        r#"<meta property="og:image" content="{}">"#,
    ),
    (
        "meta-twitter-image",
        r#"<meta name="twitter:image" content="{}">"#,
    ),
    (
        "svg-use",
        r#"<svg width="9" height="9"><use href="{}"></use></svg>"#,
    ),
    (
        "svg-image",
        r#"<svg width="9" height="9"><image xlink:href="{}"></image></svg>"#,
    ),
    (
        "svg-a",
        r#"<svg width="9" height="9"><a href="{}"><text y="9">t</text></a></svg>"#,
    ),
    (
        "style-attribute",
        r#"<p style="background: no-repeat url('{}')">styled</p>"#,
    ),
    ("style-url", "<style>.a { background: url(\"{}\") }</style>"),
    (
        "style-url-unquoted",
        "<style>.b{background:url( {} )}</style>",
    ),
    ("style-import", "<style>@import '{}' screen;</style>"),
    (
        "style-image-set",
        "<style>.c { background: image-set('{}' 1x, url(/asset/0.png) 2x) }</style>",
    ),
    (
        "style-font-face",
        "<style>@font-face { font-family: F; src: url({}) format('woff2') }</style>",
    ),
];

/// What looks like a link and is none: nothing that renders or indexes the page follows it.
pub const DECOYS: [(&str, &str); 11] = [
    ("comment", r#"<!-- <a href="{}">was here</a> -->"#),
    (
        "textarea",
        r#"<textarea><a href="{}">only text</a></textarea>"#,
    ),
    (
        "script-string",
        r#"<script>var s = '<a href="{}">only a string</a>';</script>"#,
    ),
    (
        "script-json",
        r#"<script type="application/json">{"html": "<img src='{}'>"}</script>"#,
    ),
    ("template", r#"<template><a href="{}">inert</a></template>"#),
    (
        "data-attribute",
        r#"<p data-href="{}">a script's business</p>"#,
    ),
    ("title-attribute", r#"<p title='<a href="{}">'>a hint</p>"#),
    (
        "link-dns-prefetch",
        r#"<link rel="dns-prefetch" href="{}">"#,
    ),
    ("link-preconnect", r#"<link rel="preconnect" href="{}">"#),
    (
        "style-comment",
        "<style>/* .z { background: url({}) } */</style>",
    ),
    (
        "title-text",
        r#"<svg><title>see {}</title></svg><xmp><a href="{}">as it is</a></xmp>"#,
    ),
];

impl Place {
    /// The place of that name in [`PLACES`].
    ///
    /// # Panics
    /// When there is none.
    pub fn named(name: &str) -> Place {
        let mut places = PLACES.iter();
        let place = places.find(|(known, _)| *known == name);
        Place::Markup(place.expect("a place of the list").0)
    }

    /// Its name, for reports.
    pub fn name(self) -> &'static str {
        match self {
            Place::Markup(name) => name,
            Place::Base => "base-href",
            Place::Sheet => "style-sheet",
            Place::Header => "header",
            Place::Sitemap => "sitemap",
            Place::OwnPage => "page",
        }
    }

    /// What an ordinary page says to hold `href` there; nothing for places outside of a page's body.
    pub fn markup(self, href: &str) -> String {
        let Place::Markup(name) = self else {
            return String::new();
        };
        let mut places = PLACES.iter();
        let (_, text) = places
            .find(|(known, _)| *known == name)
            .expect("a place of the list");
        fill(text, href)
    }
}

/// Puts `href` into a template, as an attribute's value has to be written.
pub(super) fn fill(template: &str, href: &str) -> String {
    template.replace("{}", &href.replace('&', "&amp;").replace('"', "&quot;"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_every_template_has_a_place_for_the_link() {
        let all = || PLACES.iter().chain(&DECOYS);
        let names: BTreeSet<_> = all().map(|(name, _)| name).collect();
        assert_eq!(names.len(), PLACES.len() + DECOYS.len());
        for (name, template) in all() {
            assert!(template.contains("{}"), "{name}");
        }
        let markup = Place::named("q-cite").markup("/a?b=1&c=\"");
        assert_eq!(markup, r#"<p><q cite="/a?b=1&amp;c=&quot;">quoted</q>"#);
    }
}
