//! A way to a node on which answers get lost.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

/// Passes bytes on between clients and a node. Of what the node answers on the first connection it passes on the first
/// `answers` pieces and keeps the rest; that connection stays open, and silent.
pub struct Proxy {
    pub address: SocketAddr,
    /// Told once, when the node has answered something that was kept.
    pub kept: mpsc::Receiver<()>,
}

impl Proxy {
    pub fn start(node: SocketAddr, answers: usize) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let (tell, kept) = mpsc::channel();
        thread::spawn(move || {
            let mut limit = Some((answers, tell));
            for client in listener.incoming() {
                let client = client.expect("accepted");
                let node = TcpStream::connect(node).expect("it listens");
                let (from, to) = (twin(&client), twin(&node));
                thread::spawn(move || pass_on(from, to, None));
                let limit = limit.take();
                thread::spawn(move || pass_on(node, client, limit));
            }
        });
        Proxy { address, kept }
    }
}

fn twin(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("a second handle")
}

/// Until either end has gone.
fn pass_on(mut from: TcpStream, mut to: TcpStream, mut limit: Option<(usize, mpsc::Sender<()>)>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let len = match from.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(len) => len,
        };
        match &mut limit {
            Some((0, tell)) => {
                // Nobody may be waiting for it.
                let _ = tell.send(());
            }
            passed => {
                if let Some((left, _)) = passed {
                    *left -= 1;
                }
                if to.write_all(&buffer[..len]).is_err() {
                    break;
                }
            }
        }
    }
    // Both may have gone already.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
