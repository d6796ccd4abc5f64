//! A static site on this machine's loopback interface.

use super::{Authorities, Observed, Server, Speaks, TlsError};
use crate::web::{Addresses, Certificate, StaticShape, Web};
use holdfast_host::{Host, Listener};
use std::{io, net::SocketAddr};

/// A static site that is being served: every origin of it on a port of its own.
pub struct Loopback {
    /// The web; its origin 0 is the site.
    pub web: Web,
    /// What it was asked.
    pub observed: Observed,
    /// The authority of its good certificates, in PEM.
    pub authority_pem: String,
    servers: Vec<Server>,
}

/// Why a site is not served.
#[derive(Debug, thiserror::Error)]
pub enum LoopbackError {
    /// A port could not be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// There are no certificates for it.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Loopback {
    /// Serves the site that `shape` makes of the addresses which are free, on 127.0.0.1, with the site itself on
    /// `port` (0 for any).
    ///
    /// # Errors
    /// When a port cannot be had, or keys cannot be made.
    pub async fn start(
        host: &Host,
        port: u16,
        seed: u64,
        shape: impl FnOnce(Addresses) -> StaticShape,
    ) -> Result<Loopback, LoopbackError> {
        let site = listen(host, port).await?;
        let partner = listen(host, 0).await?;
        let soft = listen(host, 0).await?;
        // Had for a moment, so that nobody else has it; then nobody listens there.
        let refusing = listen(host, 0).await?.local_addr();
        let mut tls = Vec::new();
        for certificate in Certificate::ALL {
            tls.push((certificate, listen(host, 0).await?));
        }
        let shape = shape(Addresses {
            site: site.local_addr(),
            partner: partner.local_addr(),
            soft: soft.local_addr(),
            refusing,
            tls: tls
                .iter()
                .map(|(c, listener)| (*c, listener.local_addr()))
                .collect(),
        });
        let web = Web::static_site(seed, &shape);
        let observed = Observed::new(&web);
        let authorities = Authorities::new()?;
        let mut servers = Vec::new();
        let listeners = [site, partner, soft].into_iter();
        for listener in listeners.chain(tls.into_iter().map(|(_, listener)| listener)) {
            let address = listener.local_addr().to_string();
            // The shape may have left it out.
            if let Some(origin) = web.origin_of(&address) {
                let speaks = Speaks::For(origin);
                let server =
                    Server::start(host, listener, &observed, speaks, &web, Some(&authorities));
                servers.push(server?);
            }
        }
        Ok(Loopback {
            web,
            observed,
            authority_pem: authorities.trusted_pem(),
            servers,
        })
    }

    /// Where the site is: the URL to begin with.
    pub fn root(&self) -> &str {
        self.web.origins()[0].base()
    }

    /// Where its servers listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(Server::address).collect()
    }
}

async fn listen(host: &Host, port: u16) -> Result<Listener, LoopbackError> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let listening = host.network.listen(address).await;
    listening.map_err(|source| LoopbackError::Listen { address, source })
}
