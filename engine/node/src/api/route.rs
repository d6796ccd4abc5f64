use super::{Problem, ProblemKind, percent_decode};
use bytes::Bytes;
use http::{HeaderValue, Method, header};

const KEYS: &str = "/v1/kv/keys/";

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Key(Bytes),
    Range,
    Txn,
    Compact,
    Watch,
    Status,
    Transfer,
    Health,
    Ready,
    Metrics,
}

impl Route {
    pub fn of(path: &str) -> Result<Route, Problem> {
        if let Some(key) = path.strip_prefix(KEYS) {
            return percent_decode(key).map(Route::Key);
        }
        match path {
            "/v1/kv/range" => Ok(Route::Range),
            "/v1/kv/txn" => Ok(Route::Txn),
            "/v1/kv/compact" => Ok(Route::Compact),
            "/v1/kv/watch" => Ok(Route::Watch),
            "/v1/status" => Ok(Route::Status),
            "/v1/cluster/transfer" => Ok(Route::Transfer),
            "/healthz" => Ok(Route::Health),
            "/readyz" => Ok(Route::Ready),
            "/metrics" => Ok(Route::Metrics),
            _ => Err(Problem::new(
                ProblemKind::UnknownRoute,
                "known paths: /v1/kv/{keys/<key>, range, txn, compact, watch}, /v1/status, \
                 /v1/cluster/transfer, /healthz, /readyz, /metrics",
            )),
        }
    }

    /// The label under which requests are counted.
    pub fn name(&self) -> &'static str {
        match self {
            Route::Key(_) => "keys",
            Route::Range => "range",
            Route::Txn => "txn",
            Route::Compact => "compact",
            Route::Watch => "watch",
            Route::Status => "status",
            Route::Transfer => "transfer",
            Route::Health => "healthz",
            Route::Ready => "readyz",
            Route::Metrics => "metrics",
        }
    }

    fn methods(&self) -> &'static [Method] {
        match self {
            Route::Key(_) => &[Method::GET, Method::HEAD, Method::PUT, Method::DELETE],
            Route::Range => &[Method::GET, Method::HEAD, Method::DELETE],
            Route::Txn | Route::Compact | Route::Transfer => &[Method::POST],
            Route::Watch => &[Method::GET],
            Route::Status | Route::Health | Route::Ready | Route::Metrics => {
                &[Method::GET, Method::HEAD]
            }
        }
    }

    pub fn check_method(&self, method: &Method) -> Result<(), Problem> {
        if self.methods().contains(method) {
            return Ok(());
        }
        let names: Vec<&str> = self.methods().iter().map(Method::as_str).collect();
        let allowed = names.join(", ");
        let header = HeaderValue::from_str(&allowed).expect("method names are ASCII");
        Err(Problem::new(
            ProblemKind::MethodNotAllowed,
            format!("{method} is not for this path; it takes {allowed}"),
        )
        .with_header(header::ALLOW, header))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_after_the_prefix_is_the_key() {
        let key = |path: &str| match Route::of(path) {
            Ok(Route::Key(key)) => key,
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(key("/v1/kv/keys/a/b%2Fc%00"), &b"a/b/c\0"[..]);
        assert_eq!(key("/v1/kv/keys/../x"), "../x");
        assert_eq!(key("/v1/kv/keys//"), "/");
        assert!(Route::of("/v1/kv/keys/%x").is_err());
        assert!(Route::of("/v1/kv/keys").is_err());
        assert!(Route::of("/v1/kv/range/").is_err());
    }
}
