//! What comes after `#`.

use super::{Case, Role, Scene, fault, fine, open};
use crate::web::{Verdict, answer::Reply, text};

use Verdict::{Alive, FragmentMissing};

/// A document with everything that a fragment can name, and what it cannot.
const DOCUMENT: &str = "<h2 id=\"first\">First</h2>\n<h2 id=\"caf\u{e9}\">Caf\u{e9}</h2>\n\
    <a name=\"old-anchor\"></a>\n<h2 id='with space'>Space</h2>\n<p id=unquoted>x</p>\n\
    <h2 id=\"a%20b\">A per cent sign in an id</h2>\n<!-- <p id=\"in-comment\"> -->\n\
    <template><p id=\"in-template\"></p></template>\n<textarea><p id=\"in-text\"></p></textarea>\n\
    <p name=\"only-anchors-have-names\">x</p>\n<p data-id=\"no-id\">x</p>\n";

pub(super) const CASES: [Case; 25] = [
    fault("fragment-missing", |s| {
        named(s, "#nowhere", &[FragmentMissing])
    }),
    fault("fragment-wrong-case", |s| {
        named(s, "#FIRST", &[FragmentMissing])
    }),
    fault("fragment-in-comment", |s| {
        named(s, "#in-comment", &[FragmentMissing])
    }),
    fault("fragment-in-textarea", |s| {
        named(s, "#in-text", &[FragmentMissing])
    }),
    fault("fragment-name-of-paragraph", |s| {
        named(s, "#only-anchors-have-names", &[FragmentMissing]);
    }),
    fault("fragment-data-id", |s| {
        named(s, "#no-id", &[FragmentMissing])
    }),
    fault("fragment-percent-encoded-missing", |s| {
        named(s, "#caf%C3%A9s", &[FragmentMissing]);
    }),
    fault("fragment-same-page-missing", |s| {
        let fragment = s.path("").replace('/', "-");
        s.a(&format!("#{fragment}"), &[FragmentMissing]);
    }),
    fault("fragment-other-host-missing", |s| {
        let path = s.path(".html");
        let reply = Reply::html(200, text::small(DOCUMENT));
        let url = s.serve_at(Role::Partner, &path, reply);
        s.a(&format!("{url}#nowhere"), &[FragmentMissing]);
    })
    .needing(Role::Partner),
    fault("fragment-after-redirect-missing", |s| {
        redirected(s, "#nowhere", &[FragmentMissing])
    }),
    fine("fragment-id", |s| named(s, "#first", &[Alive])),
    fine("fragment-unquoted-id", |s| named(s, "#unquoted", &[Alive])),
    fine("fragment-percent-encoded", |s| {
        named(s, "#caf%C3%A9", &[Alive])
    }),
    fine("fragment-unicode", |s| named(s, "#caf\u{e9}", &[Alive])),
    fine("fragment-space", |s| named(s, "#with%20space", &[Alive])),
    fine("fragment-raw-percent", |s| named(s, "#a%20b", &[Alive])),
    fine("fragment-name", |s| named(s, "#old-anchor", &[Alive])),
    fine("fragment-empty", |s| named(s, "#", &[Alive])),
    fine("fragment-top", |s| named(s, "#top", &[Alive])),
    fine("fragment-top-case", |s| named(s, "#Top", &[Alive])),
    fine("fragment-text", |s| named(s, "#:~:text=First", &[Alive])),
    fine("fragment-id-and-text", |s| {
        named(s, "#first:~:text=First", &[Alive])
    }),
    fine("fragment-after-redirect", |s| {
        redirected(s, "#first", &[Alive])
    }),
    fine("fragment-of-pdf", |s| {
        let path = s.path(".pdf");
        s.serve(
            &path,
            Reply::of(200, "application/pdf", "%PDF-1.4\n%%EOF\n"),
        );
        s.a(&format!("{path}#page=3"), &[Alive]);
    }),
    // In the document's markup, but not in the document; most parsers see no difference.
    open("fragment-in-template", |s| {
        named(s, "#in-template", &[FragmentMissing, Alive])
    }),
];

/// A link to a fragment of a document of its own.
fn named(s: &mut Scene<'_>, fragment: &str, verdicts: &[Verdict]) {
    let path = s.path(".html");
    s.own_html(&path, DOCUMENT);
    s.a(&format!("{path}{fragment}"), verdicts);
}

/// The same by way of a redirect, which inherits the fragment (RFC 9110, §10.2.2).
fn redirected(s: &mut Scene<'_>, fragment: &str, verdicts: &[Verdict]) {
    let (path, end) = (s.path(""), s.path(".html"));
    s.serve(&path, Reply::redirect(302, &end));
    s.own_html(&end, DOCUMENT);
    s.a(&format!("{path}{fragment}"), verdicts);
}
