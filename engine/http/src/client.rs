//! The client: its pool, its politeness, and single requests.

use crate::{
    BodyPolicy, ClientConfig, ConfigError, FetchError, Head, Origin, Request, Response, Stage,
    chain,
    exchange::{Call, Choose, Exchanger, Missed, Place},
    origin::Origins,
    pool::Pool,
    tls::{self, Roots},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use holdfast_host::{Host, Moment};
use http::{HeaderMap, HeaderValue, Method, header};
use std::{sync::Arc, time::Duration};
use url::Url;

/// An HTTP client. Clones share connections, politeness and bounds.
///
/// Futures of the client may be dropped at any time: a request that waits gives its turn back, one under way is cut.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    origins: Origins,
    exchanger: Exchanger,
}

/// What a client holds at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// Connections that are open, idle ones included.
    pub connections: usize,
    /// Connections that nobody uses.
    pub idle: usize,
    /// Origins that are remembered.
    pub origins: usize,
}

impl Client {
    /// A client that lives on `host` and trusts `roots`.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting that cannot be.
    pub fn new(host: &Host, config: ClientConfig, roots: &Roots) -> Result<Client, ConfigError> {
        let headers = config.check()?;
        let tls = tls::client(host, roots)?;
        let config = Arc::new(config);
        let limits = &config.limits;
        let origins = Origins::new(
            limits.max_origins,
            limits.max_per_origin,
            config.gap,
            config.mutant,
        );
        let pool = Pool::new(host, config.clone(), tls);
        Ok(Client {
            inner: Arc::new(Inner {
                origins,
                exchanger: Exchanger {
                    host: host.clone(),
                    config,
                    headers,
                    pool,
                },
            }),
        })
    }

    /// The settings.
    pub fn config(&self) -> &ClientConfig {
        &self.inner.exchanger.config
    }

    /// The host that the client lives on.
    pub fn host(&self) -> &Host {
        &self.inner.exchanger.host
    }

    /// What the client holds at the moment.
    pub fn holdings(&self) -> Holdings {
        let (idle, connections) = self.inner.exchanger.pool.counts();
        Holdings {
            connections,
            idle,
            origins: self.inner.origins.len(),
        }
    }

    /// Sets the least time between the starts of two requests to `origin` (a robots.txt's crawl delay, say), also for
    /// those that wait already. It is forgotten with the origin, which happens only when
    /// [`max_origins`](crate::Limits::max_origins) are remembered and this one is idle.
    ///
    /// # Errors
    /// [`FetchError::Busy`] when there is no room for another origin.
    pub fn set_gap(&self, origin: &Origin, gap: Duration) -> Result<(), FetchError> {
        self.inner.origins.set_gap(origin, gap, self.host().now())
    }

    /// Lets no request to `origin` start before `until` by the host's monotonic clock (a `Retry-After`, say). An
    /// earlier moment than was said before changes nothing.
    ///
    /// # Errors
    /// [`FetchError::Busy`] when there is no room for another origin.
    pub fn block_until(&self, origin: &Origin, until: Moment) -> Result<(), FetchError> {
        self.inner
            .origins
            .block_until(origin, until, self.host().now())
    }

    /// Sends one request and reads its response. Redirects are responses like others, and cookies are not kept.
    ///
    /// # Errors
    /// [`FetchError`]; never for a status.
    pub async fn send(
        &self,
        request: &Request,
        choose: &(dyn Fn(&Head) -> BodyPolicy + Sync),
    ) -> Result<Response, FetchError> {
        let mut headers = request.headers.clone();
        authorize(&mut headers, &request.url);
        let call = Call {
            method: &request.method,
            url: &request.url,
            headers: &headers,
            cookies: None,
            body: &request.body,
            gap: Duration::ZERO,
        };
        let mut left = self.config().timeouts.total;
        self.hop(&call, choose, &mut left).await
    }

    /// Sends one request in its origin's turn. Of `left` is taken what it took from then on. A connection that was kept
    /// and turns out to be closed is made up for once, in another turn: servers see that as another request.
    pub(crate) async fn hop(
        &self,
        call: &Call<'_>,
        choose: &Choose<'_>,
        left: &mut Duration,
    ) -> Result<Response, FetchError> {
        if *call.method == Method::CONNECT {
            return Err(FetchError::InvalidUrl {
                detail: "CONNECT asks for no URL".to_owned(),
            });
        }
        let origin = Origin::of(call.url)?;
        let Inner { origins, exchanger } = &*self.inner;
        let (host, config) = (&exchanger.host, &exchanger.config);
        let came = host.now();
        let politeness = origins.get(&origin, came)?;
        let mut was_stale = false;
        loop {
            let turn = politeness
                .turn(
                    host,
                    call.gap,
                    config.timeouts.queue,
                    config.limits.max_waiting,
                )
                .await?;
            let reservation = match was_stale {
                false => exchanger.pool.reserve(&origin, &politeness).await?,
                true => exchanger.pool.reserve_new().await?,
            };
            let mut place = Place {
                origin: &origin,
                politeness: &politeness,
                turn,
            };
            let began = host.now();
            let exchange = exchanger.exchange(call, &mut place, reservation, choose);
            let answered = host.timeout(*left, Box::pin(exchange)).await;
            *left = left.saturating_sub(host.now().since(began));
            return match answered {
                Ok(Ok(mut response)) => {
                    response.timings.queue = began.since(came);
                    Ok(response)
                }
                Ok(Err(Missed::Stale(_))) if !was_stale => {
                    was_stale = true;
                    continue;
                }
                Ok(Err(Missed::Stale(error) | Missed::Failed(error))) => Err(error),
                Err(_) => Err(FetchError::Timeout {
                    stage: Stage::Total,
                    after: config.timeouts.total,
                }),
            };
        }
    }

    /// Sends a request and follows its redirects; see [`Fetched`](crate::Fetched). Every hop, the first included, is
    /// put to `gate`. `choose` is not asked about redirects, whose bodies are not read.
    pub async fn fetch(
        &self,
        request: &Request,
        gate: &dyn crate::Gate,
        choose: &(dyn Fn(&Head) -> BodyPolicy + Sync),
    ) -> crate::Fetched {
        chain::follow(self, request, gate, choose).await
    }
}

/// Puts a URL's user name and password into an `Authorization` header, where there is none (RFC 7617).
pub(crate) fn authorize(headers: &mut HeaderMap, url: &Url) {
    let has_credentials = !url.username().is_empty() || url.password().is_some();
    if !has_credentials || headers.contains_key(header::AUTHORIZATION) {
        return;
    }
    let decode = |text: &str| {
        // The URL standard has them percent-encoded.
        percent_encoding::percent_decode_str(text).collect::<Vec<u8>>()
    };
    let mut pair = decode(url.username());
    pair.push(b':');
    pair.extend(decode(url.password().unwrap_or("")));
    let value = format!("Basic {}", STANDARD.encode(pair));
    if let Ok(mut value) = HeaderValue::from_str(&value) {
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
}
