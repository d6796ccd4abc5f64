//! A small site on loopback, whose links are known.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
};

/// It serves until the process ends.
pub struct Site {
    address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    asked: BTreeMap<String, u32>,
    held: BTreeSet<String>,
    changed: BTreeMap<String, &'static str>,
}

impl Site {
    /// Pages that a crawl reads.
    pub const PAGES: u64 = 3;
    /// Links that are broken: two dead ones, of which one stands on two pages, and a fragment.
    pub const BROKEN: u64 = 4;

    pub fn start() -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::<(Mutex<State>, Condvar)>::default();
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = shared.clone();
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Site { address, state }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// How often `path` was asked for.
    pub fn asked(&self, path: &str) -> u32 {
        let state = self.state.0.lock().expect("a lock");
        state.asked.get(path).copied().unwrap_or(0)
    }

    /// From now on `path` is not answered.
    pub fn hold(&self, path: &str) {
        let mut state = self.state.0.lock().expect("a lock");
        state.held.insert(path.to_owned());
    }

    /// From now on `path` is answered with this status, and an empty page.
    pub fn change(&self, path: &str, status: &'static str) {
        let mut state = self.state.0.lock().expect("a lock");
        state.changed.insert(path.to_owned(), status);
    }

    /// Answers everything again.
    pub fn release(&self) {
        self.state.0.lock().expect("a lock").held.clear();
        self.state.1.notify_all();
    }
}

fn serve(stream: TcpStream, state: &(Mutex<State>, Condvar)) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut words = line.split(' ').map(str::to_owned);
        let (method, path) = (words.next(), words.next().unwrap_or_default());
        let mut header = String::new();
        while reader.read_line(&mut header).unwrap_or(0) > 2 {
            header.clear();
        }
        let mut now = state.0.lock().expect("a lock");
        *now.asked.entry(path.clone()).or_default() += 1;
        while now.held.contains(&path) {
            now = state.1.wait(now).expect("a lock");
        }
        let changed = now.changed.get(&path).copied();
        drop(now);
        let (status, head, body) = match changed {
            Some(status) => (status, HTML, "<title>Changed</title>"),
            None => page(&path),
        };
        let body = if method.as_deref() == Some("HEAD") {
            ""
        } else {
            body
        };
        let len = body.len();
        let answer = format!("HTTP/1.1 {status}\r\n{head}Content-Length: {len}\r\n\r\n{body}");
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

const HTML: &str = "Content-Type: text/html\r\n";

fn page(path: &str) -> (&'static str, &'static str, &'static str) {
    let html = HTML;
    match path {
        "/" => (
            "200 OK",
            html,
            r##"<title>Home</title><a href="/a">a</a> <a href="/b">b</a> <a href="/gone">gone</a>
            <a href="/a#here">here</a> <a href="/a#nowhere">nowhere</a> <a href="/old">old</a>
            <a href="mailto:a@b.test">mail</a>"##,
        ),
        "/a" => (
            "200 OK",
            html,
            r#"<title>A</title><p id="here"><a href="/">home</a> <a href="/gone">gone</a>"#,
        ),
        "/b" => (
            "200 OK",
            html,
            r#"<title>B</title><a href="/">home</a> <a href="/lost">lost</a>"#,
        ),
        "/whole" => ("200 OK", html, r#"<title>Whole</title><a href="/b">b</a>"#),
        "/old" => ("301 Moved Permanently", "Location: /a\r\n", ""),
        _ => ("404 Not Found", html, "<title>Not found</title>"),
    }
}
