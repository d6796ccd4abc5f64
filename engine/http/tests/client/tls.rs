use crate::support::*;
use holdfast_http::{
    Client, ClientConfig, FetchError, Timeouts,
    tls::{self, Roots, TlsError, TlsReason},
};
use http::Version;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use url::Url;

/// An authority of our own.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
    certificate: Certificate,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Authority {
            params,
            key,
            certificate,
        }
    }

    fn root(&self) -> String {
        self.certificate.pem()
    }

    /// Signs a server's certificate, as PEM texts of chain and key.
    fn sign(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

fn named(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("good names");
    params
        .distinguished_name
        .push(DnType::CommonName, "a server");
    params
}

fn config() -> ClientConfig {
    ClientConfig {
        timeouts: Timeouts {
            tls: 2_000 * MS,
            ..Timeouts::default()
        },
        ..ClientConfig::default()
    }
}

fn https(site: &Site) -> Url {
    let url = format!("https://localhost:{}/path", site.address.port());
    Url::parse(&url).expect("a URL")
}

/// Asks so many times at once, and is answered with `body` each time.
async fn ask_at_once(lab: &Lab, client: &Client, url: &Url, times: usize, body: &'static [u8]) {
    let tasks: Vec<_> = (0..times)
        .map(|_| {
            let (client, url) = (client.clone(), url.clone());
            lab.host.spawn("asker", async move {
                is_ok(&get(&client, url).await, body);
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await, holdfast_host::TaskEnd::Returned);
    }
}

#[test]
fn http2_is_agreed_on_and_connections_are_shared() {
    run(|lab| async move {
        let authority = Authority::new("our root");
        let (chain, key) = authority.sign(&named(&["localhost", "127.0.0.1"]));
        let site = lab.serve(lab.tls(&chain, &key), |asked| {
            assert_eq!(asked.version, Version::HTTP_2);
            Answer::ok(asked.path)
        });
        let site = site.await;
        let client = lab.trusting(config(), &authority.root());
        ask_at_once(&lab, &client, &https(&site), 6, b"/path").await;
        assert_eq!(site.connections(), 1);
        let by_address = format!("https://{}/path", site.address);
        let url = Url::parse(&by_address).expect("a URL");
        let response = get(&client, url).await;
        is_ok(&response, b"/path");
        let response = response.expect("a response");
        assert_eq!(response.head.version, Version::HTTP_2);
        assert!(response.timings.tls.is_some());
    });
}

#[test]
fn http1_is_spoken_with_those_who_know_no_other() {
    run(|lab| async move {
        let authority = Authority::new("our root");
        let (chain, key) = authority.sign(&named(&["localhost"]));
        let config = tls::server(&lab.host, &chain, &key).expect("good certificates");
        let mut config = (*config).clone();
        config.alpn_protocols.clear();
        let spoken = Spoken::Tls(Arc::new(config));
        let site = lab.serve(spoken, |asked| {
            assert_eq!(asked.version, Version::HTTP_11);
            Answer::ok(asked.header("host"))
        });
        let site = site.await;
        let client = lab.trusting(self::config(), &authority.root());
        let host = format!("localhost:{}", site.address.port());
        for _ in 0..3 {
            is_ok(&get(&client, https(&site)).await, host.as_bytes());
        }
        assert_eq!(site.connections(), 1);
    });
}

/// What a client that trusts `root` makes of a server with this certificate.
#[track_caller]
fn check(root: &Authority, (chain, key): (String, String), expected: &str) -> TlsReason {
    let root = root.root();
    let error = run(|lab| async move {
        let site = lab.serve(lab.tls(&chain, &key), |_| Answer::ok("x")).await;
        let client = lab.trusting(config(), &root);
        failed(get(&client, https(&site)).await, "tls")
    });
    let FetchError::Tls { reason } = error else {
        panic!("{error}");
    };
    assert_eq!(reason.name(), expected, "{reason}");
    reason
}

#[test]
fn bad_certificates_are_told_apart() {
    let root = Authority::new("our root");
    let mut expired = named(&["localhost"]);
    expired.not_after = date_time_ymd(2020, 1, 1);
    check(&root, root.sign(&expired), "certificate-expired");

    let mut early = named(&["localhost"]);
    early.not_before = date_time_ymd(2200, 1, 1);
    early.not_after = date_time_ymd(2300, 1, 1);
    check(&root, root.sign(&early), "certificate-not-yet-valid");

    let wrong = named(&["other.test", "*.third.test"]);
    let reason = check(&root, root.sign(&wrong), "certificate-wrong-host");
    let names = ["other.test", "*.third.test"].map(String::from).to_vec();
    assert_eq!(reason, TlsReason::WrongHost { names });

    let stranger = Authority::new("another root");
    let unknown = stranger.sign(&named(&["localhost"]));
    check(&root, unknown, "certificate-unknown-issuer");

    let key = KeyPair::generate().expect("a key");
    let alone = named(&["localhost"])
        .self_signed(&key)
        .expect("a certificate");
    let pair = (alone.pem(), key.serialize_pem());
    check(&root, pair, "certificate-self-signed");

    // As the usual tools make them.
    let key = KeyPair::generate().expect("a key");
    let mut params = named(&["localhost"]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let alone = params.self_signed(&key).expect("a certificate");
    let pair = (alone.pem(), key.serialize_pem());
    check(&root, pair, "certificate-self-signed");

    // Somebody else who says to be our root.
    let impostor = Authority::new("our root");
    let forged = impostor.sign(&named(&["localhost"]));
    check(&root, forged, "certificate-bad-signature");

    let mut for_clients = named(&["localhost"]);
    for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    check(&root, root.sign(&for_clients), "certificate-unusable");
}

#[test]
fn a_root_that_is_bundled_does_not_know_ours() {
    run(|lab| async move {
        let authority = Authority::new("our root");
        let (chain, key) = authority.sign(&named(&["localhost"]));
        let site = lab.serve(lab.tls(&chain, &key), |_| Answer::ok("x")).await;
        let client = lab.client(config());
        let error = failed(get(&client, https(&site)).await, "tls");
        assert!(error.to_string().contains("issuer"), "{error}");
    });
}

async fn reason(client: &Client, site: &Site) -> TlsReason {
    match failed(get(client, https(site)).await, "tls") {
        FetchError::Tls { reason } => reason,
        error => panic!("{error}"),
    }
}

#[test]
fn servers_that_do_not_speak_it_right() {
    run(|lab| async move {
        let authority = Authority::new("our root");
        let client = lab.trusting(config(), &authority.root());

        let plain = lab.script(|mut stream, _| async move {
            let _ = stream.read(&mut [0; 1_000]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        assert_eq!(reason(&client, &plain.await).await.name(), "protocol-error");

        let closing = lab.script(|mut stream, _| async move {
            let _ = stream.read(&mut [0; 10_000]).await;
            let _ = stream.shutdown().await;
        });
        let closing = closing.await;
        assert_eq!(reason(&client, &closing).await, TlsReason::Closed);

        // A fatal alert: handshake_failure, as RFC 8446 writes it.
        let refusing = lab.script(|mut stream, _| async move {
            let _ = stream.read(&mut [0; 10_000]).await;
            let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, 40]).await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let refused = reason(&client, &refusing.await).await;
        assert_eq!(refused, TlsReason::Alert("HandshakeFailure".into()));
    });
}

#[test]
fn a_response_that_tls_does_not_end_is_cut() {
    run(|lab| async move {
        let authority = Authority::new("our root");
        let (chain, key) = authority.sign(&named(&["localhost"]));
        let config = tls::server(&lab.host, &chain, &key).expect("good certificates");
        let mut config = (*config).clone();
        config.alpn_protocols.clear();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let site = lab.script(move |stream, number| {
            let acceptor = acceptor.clone();
            async move {
                let mut stream = acceptor.accept(stream).await.expect("a client");
                let _ = stream.read(&mut [0; 10_000]).await;
                let answer = b"HTTP/1.1 200 OK\r\n\r\nto the end";
                stream.write_all(answer).await.expect("it reads");
                stream.flush().await.expect("it reads");
                // Anybody in between could end it so; `close_notify` is the server's word.
                if number == 0 {
                    let _ = stream.get_mut().0.shutdown().await;
                } else {
                    let _ = stream.shutdown().await;
                }
            }
        });
        let site = site.await;
        let client = lab.trusting(self::config(), &authority.root());
        failed(get(&client, https(&site)).await, "connection-closed");
        is_ok(&get(&client, https(&site)).await, b"to the end");
    });
}

#[test]
fn a_slow_handshake_brings_no_two_requests_together() {
    run(|lab| async move {
        let authority = Authority::new("our root");
        let (chain, key) = authority.sign(&named(&["localhost"]));
        let config = tls::server(&lab.host, &chain, &key).expect("good certificates");
        let mut config = (*config).clone();
        config.alpn_protocols.clear();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let starts = Arc::new(Mutex::new(Vec::new()));
        let (host, log) = (lab.host.clone(), starts.clone());
        // Only the first handshake is slow, and slower than the gap is long.
        let site = lab.script(move |stream, number| {
            let (host, log, acceptor) = (host.clone(), log.clone(), acceptor.clone());
            async move {
                if number == 0 {
                    host.sleep(300 * MS).await;
                }
                let mut stream = acceptor.accept(stream).await.expect("a client");
                while stream.read(&mut [0; 10_000]).await.is_ok_and(|len| len > 0) {
                    log.lock().expect("no panic").push(host.now());
                    host.sleep(100 * MS).await;
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx";
                    stream.write_all(answer).await.expect("it reads");
                    stream.flush().await.expect("it reads");
                }
            }
        });
        let site = site.await;
        let config = ClientConfig {
            gap: 60 * MS,
            ..self::config()
        };
        let client = lab.trusting(config, &authority.root());
        ask_at_once(&lab, &client, &https(&site), 4, b"x").await;
        let starts = starts.lock().expect("no panic");
        assert_eq!(starts.len(), 4);
        for pair in starts.windows(2) {
            let gap = pair[1].since(pair[0]);
            assert!(gap + 10 * MS >= 60 * MS, "{gap:?}");
        }
    });
}

#[test]
fn tls_1_2_is_spoken_too() {
    run(|lab| async move {
        let authority = Authority::new("our root");
        let (chain, key) = authority.sign(&named(&["localhost"]));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])
            .expect("a version")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a pair");
        let spoken = Spoken::Tls(Arc::new(config));
        let site = lab.serve(spoken, |_| Answer::ok("x")).await;
        let client = lab.trusting(self::config(), &authority.root());
        is_ok(&get(&client, https(&site)).await, b"x");
    });
}

#[test]
fn settings_that_cannot_be_are_told() {
    run(|lab| async move {
        let check = |outcome: Result<(), TlsError>, what: &str| {
            let error = outcome.expect_err("no settings").to_string();
            assert!(error.contains(what), "{error}");
        };
        let client = |pem: &str| tls::client(&lab.host, &Roots::Pem(pem.into())).map(drop);
        check(client("nothing"), "no certificate");
        let broken = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
        check(client(broken), "roots");
        let root = Authority::new("our root");
        let (chain, key) = root.sign(&named(&["localhost"]));
        let (_, other_key) = root.sign(&named(&["localhost"]));
        let server = |chain: &str, key: &str| tls::server(&lab.host, chain, key).map(drop);
        assert!(server(&chain, &key).is_ok());
        check(server("", &key), "certificate chain");
        check(server(&chain, ""), "private key");
        check(server(&chain, &chain), "private key");
        check(server(&chain, &other_key), "do not work");
    });
}
