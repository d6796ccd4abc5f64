//! Clients that connect by TLS.

use crate::node::{TestNode, connect, raw, read_head, wait_for};
use holdfast_host::tokio_host;
use holdfast_node::{
    Node,
    client::{Client, ClientConfig, ClientError, Condition, Retry},
    config::NodeConfig,
    http::TlsConnector,
};
use rustls::{ClientConnection, RootCertStore, StreamOwned, pki_types::ServerName};
use std::{
    io::{BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Short for a limit.
const SHORT: Duration = Duration::from_millis(300);

/// A certificate of a node on this machine, signed by itself.
struct Identity {
    folder: TempDir,
    cert: rcgen::Certificate,
}

impl Identity {
    fn new() -> Identity {
        let folder = tempfile::tempdir().expect("a folder");
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).expect("written");
        let key = made.signing_key.serialize_pem();
        std::fs::write(folder.path().join("key.pem"), key).expect("written");
        Identity {
            folder,
            cert: made.cert,
        }
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self) -> TestNode {
        let node = TestNode::start_unready(|config| {
            config.tls.cert = Some(self.file("cert.pem"));
            config.tls.key = Some(self.file("key.pem"));
            config.limits.head_timeout = SHORT;
        });
        wait_for("a node that is ready", || {
            let mut stream = self.connect(node.address, b"http/1.1");
            ask(&mut stream, "/readyz", "") == 200
        });
        node
    }

    /// A connection that trusts this certificate only, and offers one protocol.
    fn connect(
        &self,
        address: SocketAddr,
        protocol: &[u8],
    ) -> StreamOwned<ClientConnection, TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.cert.der().clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions");
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from("localhost").expect("a name");
        let client = ClientConnection::new(Arc::new(config), name).expect("a client");
        StreamOwned::new(client, connect(address))
    }
}

fn ask(stream: &mut (impl Read + Write), path: &str, headers: &str) -> u16 {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:1\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    read_head(&mut BufReader::new(stream)).0
}

#[test]
fn both_versions_of_http_are_spoken_inside_tls() {
    let identity = Identity::new();
    let node = identity.start();
    let mut stream = identity.connect(node.address, b"http/1.1");
    assert_eq!(ask(&mut stream, "/v1/kv/keys/a", ""), 404);
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut stream = identity.connect(node.address, b"h2");
    // The preface and an empty SETTINGS frame (RFC 9113, §3.4): the server's own comes back.
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .expect("sent");
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).expect("a frame");
    assert_eq!(
        (stream.conn.alpn_protocol(), frame[3]),
        (Some(&b"h2"[..]), 4)
    );
    // The node's own origin is a secure one.
    let of = |origin: &str| {
        let mut stream = identity.connect(node.address, b"http/1.1");
        ask(
            &mut stream,
            "/v1/kv/keys/a",
            &format!("Origin: {origin}\r\n"),
        )
    };
    assert_eq!(
        (of("https://127.0.0.1:1"), of("http://127.0.0.1:1")),
        (404, 403)
    );
}

#[test]
fn whatever_is_no_tls_is_turned_away() {
    let identity = Identity::new();
    let node = identity.start();
    for bytes in [
        &b"GET /healthz HTTP/1.1\r\nHost: n\r\n\r\n"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\xff\xff\x01",
        b"\0",
        b"",
    ] {
        let answer = raw(node.address, bytes);
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    // One that says nothing is not waited for.
    let mut silent = connect(node.address);
    let began = Instant::now();
    let _ = silent.read_to_end(&mut Vec::new());
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    let mut stream = identity.connect(node.address, b"http/1.1");
    let request = b"GET /metrics HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n";
    stream.write_all(request).expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it ends in order");
    assert!(
        text.contains("\nholdfast_tls_handshakes_failed_total 6\n"),
        "{text}"
    );
}

#[test]
fn the_client_knows_its_nodes() {
    let (identity, other) = (Identity::new(), Identity::new());
    let node = identity.start();
    let client = |roots: Option<&Identity>| {
        let endpoint = format!("https://127.0.0.1:{}", node.address.port());
        let mut config = ClientConfig::new(vec![endpoint]);
        config.retry = Retry::Never;
        config.tls = roots.map(|roots| {
            let pem = std::fs::read(roots.file("cert.pem")).expect("there");
            TlsConnector::from_pem(node.host(), &pem).expect("certificates")
        });
        Client::new(node.host(), config)
    };
    node.runtime.block_on(async {
        for revision in 2..5 {
            let put = client(Some(&identity))
                .put(b"a", "v", Condition::None)
                .await;
            assert_eq!(put.expect("put").revision, revision);
        }
        for stranger in [client(Some(&other)), client(None)] {
            let put = stranger
                .put(b"a", "v", Condition::None)
                .await
                .expect_err("refused");
            assert!(matches!(put, ClientError::Unreachable { .. }), "{put}");
        }
    });
}

#[test]
fn a_certificate_that_cannot_be_used_is_named() {
    let (identity, other) = (Identity::new(), Identity::new());
    std::fs::write(identity.file("empty.pem"), "").expect("written");
    std::fs::write(
        identity.file("broken.pem"),
        "-----BEGIN CERTIFICATE-----\n???\n",
    )
    .expect("written");
    let (cert, key) = (identity.file("cert.pem"), identity.file("key.pem"));
    for (cert, key, words) in [
        (
            identity.file("none.pem"),
            key.clone(),
            ["none.pem", "none.pem"],
        ),
        (
            cert.clone(),
            identity.file("none.pem"),
            ["none.pem", "none.pem"],
        ),
        (
            identity.file("empty.pem"),
            key.clone(),
            ["empty.pem", "certificate"],
        ),
        (
            identity.file("broken.pem"),
            key.clone(),
            ["broken.pem", "certificate"],
        ),
        (key.clone(), key.clone(), ["key.pem", "certificate"]),
        (cert.clone(), cert.clone(), ["cert.pem", "private key"]),
        (
            cert.clone(),
            other.file("key.pem"),
            ["cert.pem", "do not work"],
        ),
    ] {
        let error = start_error(&identity.file("data"), &cert, &key);
        for word in words {
            assert!(error.contains(word), "`{word}` is missing in: {error}");
        }
    }
}

fn start_error(data: &Path, cert: &Path, key: &Path) -> String {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let host = tokio_host::host(".".into(), runtime.handle().clone());
    let mut config = NodeConfig::default();
    config.node.data = data.to_owned();
    config.node.listen.set_port(0);
    config.node.peer_listen.set_port(0);
    config.tls.cert = Some(cert.to_owned());
    config.tls.key = Some(key.to_owned());
    match runtime.block_on(Node::start(host, config)) {
        Ok(_) => panic!("it started"),
        Err(error) => error.to_string(),
    }
}
