//! Hosts that answer everything with 200: what they say to a path that cannot exist.

use crate::perform::is_html;
use holdfast_http::{BodyPolicy, Client, Gate, Origin, Request};
use holdfast_web::{
    page,
    soft404::{Fingerprint, is_not_found_title},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tokio::sync::OnceCell;
use url::Url;

/// Hosts that are remembered; those that came first are forgotten first.
const MAX_ORIGINS: usize = 10_000;
/// Bytes of an answer that are read.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Default)]
struct Host {
    /// What it says to a path that cannot exist, if it says that with 200.
    bogus: OnceCell<Option<Answer>>,
    /// Whether it says the same on its front page: then it is one program that reads the path itself.
    is_app: OnceCell<bool>,
}

/// A page, as far as it is compared.
#[derive(Clone, Copy)]
struct Answer {
    fingerprint: Fingerprint,
    /// Its title says that something is not there.
    says_so: bool,
}

/// Words below which a page may be the shell of a program.
const MIN_WORDS: u32 = 20;

/// What hosts were found to do.
pub(crate) struct Probes {
    /// A path that nobody has.
    path: String,
    known: Mutex<BTreeMap<Origin, Arc<Host>>>,
}

impl Probes {
    /// `nonce` makes a path that no site has on purpose.
    pub fn new(nonce: u64) -> Self {
        Probes {
            // No words in it: a page's own words are not held against it.
            path: format!("/{nonce:016x}"),
            known: Mutex::default(),
        }
    }

    fn host(&self, document: &Url) -> Option<Arc<Host>> {
        let origin = Origin::of(document).ok()?;
        let mut known = self.known.lock().expect("nobody panics with it");
        if known.len() >= MAX_ORIGINS && !known.contains_key(&origin) {
            known.pop_first();
        }
        Some(known.entry(origin).or_default().clone())
    }

    /// Whether the document's host says 200 to a path that cannot exist.
    pub async fn answers_everything(
        &self,
        client: &Client,
        gate: &dyn Gate,
        document: &Url,
    ) -> bool {
        self.answer(client, gate, document).await.is_some()
    }

    async fn answer(&self, client: &Client, gate: &dyn Gate, document: &Url) -> Option<Answer> {
        let host = self.host(document)?;
        let ask = || ask(client, gate, document, &self.path);
        *host.bogus.get_or_init(ask).await
    }

    /// Whether a page of that fingerprint is what its host says of pages that are not there.
    pub async fn is_soft_404(
        &self,
        client: &Client,
        gate: &dyn Gate,
        document: &Url,
        found: Fingerprint,
    ) -> bool {
        let Some(bogus) = self.answer(client, gate, document).await else {
            return false;
        };
        if document.path() == "/" || !found.is_near(bogus.fingerprint) {
            return false;
        }
        // The shell of a program that runs in the browser and reads the path itself has next to no words; a page of
        // words that is the same everywhere says nothing of this path, even if it is the front page.
        if bogus.says_so || bogus.fingerprint.words >= MIN_WORDS {
            return true;
        }
        let Some(host) = self.host(document) else {
            return false;
        };
        let ask = async || {
            let front = self::ask(client, gate, document, "/").await;
            front.is_some_and(|front| front.fingerprint.is_near(bogus.fingerprint))
        };
        !*host.is_app.get_or_init(ask).await
    }
}

async fn ask(client: &Client, gate: &dyn Gate, document: &Url, path: &str) -> Option<Answer> {
    let mut url = document.clone();
    url.set_path(path);
    url.set_query(None);
    url.set_fragment(None);
    let fetched = client
        .fetch(&Request::get(url), gate, &|head| match is_html(head) {
            true => BodyPolicy::Prefix { max: MAX_BYTES },
            false => BodyPolicy::Discard,
        })
        .await;
    let response = fetched.outcome.ok()?;
    if !response.head.status.is_success() || !is_html(&response.head) {
        return None;
    }
    let content_type = response.head.headers.get("content-type");
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let options = page::Options {
        fingerprint: true,
        ..page::Options::default()
    };
    let page = page::read(&response.body, content_type, &fetched.url, &options);
    Some(Answer {
        fingerprint: page.fingerprint?,
        says_so: page.title.as_deref().is_some_and(is_not_found_title),
    })
}
