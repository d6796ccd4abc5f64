//! A node to test, and the least HTTP client that can say everything.

use crate::ports::free_ports;
use holdfast_host::{Host, tokio_host};
use holdfast_kv::Kv;
use holdfast_node::{Node, Rig, config::NodeConfig};
use holdfast_replica::ReplicaHandle;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// How long a socket is read in vain before a test fails: far longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster of one on ports of its own.
pub struct TestNode {
    pub runtime: Runtime,
    pub address: SocketAddr,
    pub peer_address: SocketAddr,
    node: Option<Node>,
    host: Host,
    config: NodeConfig,
    _folder: TempDir,
}

impl TestNode {
    pub fn start() -> TestNode {
        TestNode::start_with(|_| {})
    }

    pub fn start_with(configure: impl FnOnce(&mut NodeConfig)) -> TestNode {
        let this = TestNode::start_unready(configure);
        this.wait_until_ready();
        this
    }

    /// One that is rigged.
    pub fn start_rigged(rig: Rig, configure: impl FnOnce(&mut NodeConfig)) -> TestNode {
        let this = TestNode::start_unready_rigged(rig, configure);
        this.wait_until_ready();
        this
    }

    /// One that is not waited for.
    pub fn start_unready(configure: impl FnOnce(&mut NodeConfig)) -> TestNode {
        TestNode::start_unready_rigged(Rig::default(), configure)
    }

    fn start_unready_rigged(rig: Rig, configure: impl FnOnce(&mut NodeConfig)) -> TestNode {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = NodeConfig::default();
        config.node.data = folder.path().join("data");
        // A test may start the node again at the same address.
        config.node.listen.set_port(free_ports(1)[0]);
        config.node.peer_listen.set_port(0);
        config.node.lame_duck = Duration::ZERO;
        config.raft.election_timeout = Duration::from_millis(100);
        config.raft.heartbeat_interval = Duration::from_millis(20);
        configure(&mut config);
        let runtime = Runtime::new().expect("a runtime");
        let host = tokio_host::host(folder.path().to_owned(), runtime.handle().clone());
        let start = Node::start_with(host.clone(), config.clone(), rig);
        let node = runtime.block_on(start).expect("starts");
        config.node.listen = node.address();
        TestNode {
            address: node.address(),
            peer_address: node.peer_address(),
            runtime,
            node: Some(node),
            host,
            config,
            _folder: folder,
        }
    }

    fn wait_until_ready(&self) {
        wait_for("a node that is ready", || self.get("/readyz").status == 200);
    }

    /// The replica under the interface.
    pub fn replica(&self) -> &ReplicaHandle<Kv> {
        self.node.as_ref().expect("it runs").replica()
    }

    /// The number that the metrics tell under this name.
    pub fn metric(&self, name: &str) -> u64 {
        let text = String::from_utf8(self.get("/metrics").body).expect("text");
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = value.unwrap_or_else(|| panic!("no {name} in\n{text}"));
        value.parse().expect("a number")
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.config.node.data
    }

    /// A world for a client beside the node.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Stops the node in order, and starts it again at the same address.
    pub fn restart(&mut self) {
        let node = self.node.take().expect("it runs");
        self.runtime.block_on(node.shutdown(PATIENCE));
        let start = Node::start(self.host.clone(), self.config.clone());
        self.node = Some(self.runtime.block_on(start).expect("starts"));
        self.wait_until_ready();
    }

    pub fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// Sends bytes and the end, and reads until the end.
    pub fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        raw(self.address, bytes)
    }

    pub fn get(&self, target: &str) -> Answer {
        self.request("GET", target, &[], b"")
    }

    pub fn put(&self, key: &str, value: &str) -> Answer {
        self.request("PUT", &format!("/v1/kv/keys/{key}"), &[], value.as_bytes())
    }

    pub fn post(&self, target: &str, body: &str) -> Answer {
        let json = "Content-Type: application/json";
        self.request("POST", target, &[json], body.as_bytes())
    }

    pub fn request(&self, method: &str, target: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut request = format!(
            "{method} {target} HTTP/1.1\r\nHost: node\r\nConnection: close\r\nContent-Length: {}\r\n",
            body.len()
        );
        for header in headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        let mut stream = self.connect();
        // The node may refuse, and close, before it has read all of it.
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.write_all(body);
        Answer::read(stream, method)
    }

    /// Whether it still lives.
    pub fn is_well(&self) -> bool {
        self.get("/healthz").status == 200
    }

    /// Tells the node to stop; returns at once.
    pub fn begin_shutdown(&mut self, drain: Duration) {
        let node = self.node.take().expect("shut down once");
        self.runtime.spawn(node.shutdown(drain));
    }
}

/// Looks again and again until it is so.
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.set_write_timeout(Some(PATIENCE)).expect("set");
    stream
}

/// Sends bytes and the end, and reads until the end.
pub fn raw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    // The far end may have had enough before all of it is sent; then it resets the connection.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "no end came"),
    }
    answer
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    fn read(stream: TcpStream, method: &str) -> Answer {
        let mut reader = BufReader::new(stream);
        let (status, headers) = read_head(&mut reader);
        let announced = headers.get("content-length");
        let len = announced.map_or(0, |len| len.parse().expect("a length"));
        // To HEAD, the length is told of what is left out.
        let mut body = vec![0; if method == "HEAD" { 0 } else { len }];
        reader.read_exact(&mut body).expect("the announced body");
        assert_eq!(reader.read(&mut [0]).ok(), Some(0), "nothing follows");
        Answer {
            status,
            headers,
            body,
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Sees that this is a refusal of this kind, as RFC 9457 has it, and returns the document.
    #[track_caller]
    pub fn expect_problem(&self, status: u16, slug: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        let media_type = self.headers.get("content-type").map(String::as_str);
        assert_eq!(media_type, Some("application/problem+json"), "{self:?}");
        let document = self.json();
        assert_eq!(document["type"], format!("urn:holdfast:problem:{slug}"));
        assert_eq!(document["status"], status);
        assert!(
            document["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty())
        );
        document
    }

    #[track_caller]
    pub fn expect_json(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()
    }
}

pub fn read_head(reader: &mut impl BufRead) -> (u16, BTreeMap<String, String>) {
    let mut line = String::new();
    reader.read_line(&mut line).expect("a status line");
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status line: {line:?}"));
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).expect("a header");
        let Some((name, value)) = line.split_once(':') else {
            assert_eq!(line, "\r\n", "the end of the head");
            return (status, headers);
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
}
