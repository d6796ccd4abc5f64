use super::units;
use holdfast_http::{Addresses, tls::Roots};
use holdfast_links::LinksSettings;
use holdfast_web::robots::ProductToken;
use http::HeaderValue;
use serde::Deserialize;
use std::{path::PathBuf, time::Duration};

/// `[links]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinksSection {
    /// Whether this node checks links when it leads; jobs are kept either way.
    pub enabled: bool,
    /// How robots.txt calls the crawler: letters, `-` and `_`.
    pub product: String,
    /// The `User-Agent` header; empty: made of the product and the version.
    pub user_agent: String,
    /// Requests under way to one host.
    pub per_host: usize,
    /// Requests under way in all.
    pub in_flight: usize,
    /// Time that one link may take, redirects included.
    #[serde(deserialize_with = "units::duration")]
    pub timeout: Duration,
    /// Time that a connection may take to be made.
    #[serde(deserialize_with = "units::duration")]
    pub connect_timeout: Duration,
    /// Ask only addresses that the whole internet can reach, so that nobody looks into this network through the node.
    pub public_addresses_only: bool,
    /// A file of certificates in PEM that are trusted instead of the bundled ones.
    pub roots: Option<PathBuf>,
    /// How long after the last sign of life of the node that checks another takes over.
    #[serde(deserialize_with = "units::duration")]
    pub lease: Duration,
}

impl Default for LinksSection {
    fn default() -> Self {
        let settings = LinksSettings::default();
        LinksSection {
            enabled: true,
            product: settings.product.as_str().to_owned(),
            user_agent: settings.user_agent,
            per_host: settings.per_host,
            in_flight: settings.in_flight,
            timeout: settings.timeout,
            connect_timeout: settings.connect_timeout,
            public_addresses_only: false,
            roots: None,
            lease: settings.lease,
        }
    }
}

impl LinksSection {
    /// What is wrong with it.
    pub(super) fn fault(&self) -> Option<String> {
        if let Err(error) = ProductToken::new(&self.product) {
            return Some(format!("links.product: {error}"));
        }
        if HeaderValue::from_str(&self.user_agent).is_err() {
            return Some("links.user_agent cannot be sent as a header".into());
        }
        for (name, value) in [("per_host", self.per_host), ("in_flight", self.in_flight)] {
            if !(1..=10_000).contains(&value) {
                return Some(format!("links.{name} must be from 1 to 10,000"));
            }
        }
        let second = Duration::from_secs(1);
        if self.lease < second / 4 || self.lease > second * 600 {
            return Some("links.lease must be from 250 ms to 10 min".into());
        }
        None
    }

    /// What the service is told, given what is in the file of certificates.
    ///
    /// # Panics
    /// When the section has a fault.
    pub fn settings(&self, roots: Option<String>) -> LinksSettings {
        LinksSettings {
            product: ProductToken::new(&self.product).expect("it is valid"),
            user_agent: self.user_agent.clone(),
            per_host: self.per_host,
            in_flight: self.in_flight,
            timeout: self.timeout,
            connect_timeout: self.connect_timeout,
            addresses: match self.public_addresses_only {
                true => Addresses::Public,
                false => Addresses::Any,
            },
            roots: roots.map_or(Roots::Bundled, Roots::Pem),
            lease: self.lease,
            ..LinksSettings::default()
        }
    }
}
