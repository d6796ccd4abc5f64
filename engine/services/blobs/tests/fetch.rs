//! Fetching a blob from providers of which some fail and some lie.
// These tests play providers.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use holdfast_blobs::{BlobId, FetchError, FetchSettings, Fetched, ProviderError, fetch};
use holdfast_host::{Host, tokio_host};
use holdfast_http::{Client, ClientConfig, tls::Roots};
use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const PIECE: usize = 1_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Honest,
    /// It turns a bit of each piece.
    Lies,
    /// It answers this many times, and hangs up from then on.
    Dies(usize),
    /// It takes a range for the whole.
    IgnoresRanges,
    /// It says that it is larger than it is.
    Boasts,
    /// It says that it is one byte longer than it is, which it has not got.
    Stretches,
    /// It gives less than it says.
    CutsShort,
    /// It has not got it.
    HasNothing,
    /// It never answers.
    Hangs,
}

struct Provider {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

fn provider(blob: &[u8], manner: Manner) -> Provider {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, blob) = (asked.clone(), blob.to_vec());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let _ = serve(stream, &blob, manner, &count);
        }
    });
    Provider { address, asked }
}

/// Answers the requests of one connection.
fn serve(
    mut stream: TcpStream,
    blob: &[u8],
    manner: Manner,
    asked: &AtomicUsize,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut range = None;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("range: bytes=") {
                let (start, end) = value.split_once('-').expect("a range");
                let number = |text: &str| text.parse::<usize>().expect("a number");
                range = Some((number(start), number(end)));
            }
            if line.is_empty() {
                break;
            }
        }
        let (start, end) = range.expect("a range is asked for");
        let before = asked.fetch_add(1, Ordering::Relaxed);
        let mut all = blob.len();
        let head = match manner {
            Manner::Dies(times) if before >= times => return Ok(()),
            Manner::Hangs => {
                std::thread::sleep(Duration::from_secs(60));
                return Ok(());
            }
            Manner::IgnoresRanges => "200 OK",
            Manner::HasNothing => "404 Not Found",
            Manner::Stretches if start >= blob.len() => "416 Range Not Satisfiable",
            _ if start >= all => "416 Range Not Satisfiable",
            _ => "206 Partial Content",
        };
        if manner == Manner::Stretches {
            all += 1;
        }
        if manner == Manner::Boasts {
            all = 1 << 40;
        }
        if !head.starts_with("206") {
            write!(stream, "HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        }
        let end = end.min(blob.len() - 1);
        let mut piece = blob[start..=end].to_vec();
        if manner == Manner::Lies {
            piece[0] ^= 1;
        }
        if manner == Manner::CutsShort {
            piece.pop();
        }
        write!(
            stream,
            "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{end}/{all}\r\n\r\n",
            piece.len()
        )?;
        stream.write_all(&piece)?;
    }
}

struct World {
    runtime: Runtime,
    host: Host,
    client: Client,
    folder: TempDir,
}

impl World {
    fn new() -> World {
        let runtime = Runtime::new().expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let host = tokio_host::host(folder.path().to_owned(), runtime.handle().clone());
        let client = Client::new(&host, ClientConfig::default(), &Roots::Bundled);
        World {
            client: client.expect("a client"),
            runtime,
            host,
            folder,
        }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("blob")
    }

    fn fetch(&self, id: BlobId, providers: &[&Provider]) -> Result<Fetched, FetchError> {
        let settings = FetchSettings {
            blob_bytes: 100_000,
            piece_bytes: PIECE as u64,
            patience: Duration::from_secs(10),
            ..FetchSettings::default()
        };
        self.fetch_with(id, providers, &settings)
    }

    fn fetch_with(
        &self,
        id: BlobId,
        providers: &[&Provider],
        settings: &FetchSettings,
    ) -> Result<Fetched, FetchError> {
        let addresses: Vec<SocketAddr> = providers.iter().map(|one| one.address).collect();
        let target = Path::new("blob");
        self.runtime.block_on(fetch(
            &self.host,
            &self.client,
            id,
            &addresses,
            target,
            settings,
        ))
    }

    /// The names in the folder.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).expect("there");
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry
                .expect("a name")
                .file_name()
                .into_string()
                .expect("text")
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }
}

fn blob(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 + at / 256) as u8).collect()
}

#[test]
fn the_next_goes_on_where_one_has_failed() {
    let world = World::new();
    let blob = blob(10 * PIECE + 7);
    let id = BlobId::of(&blob);
    let dying = provider(&blob, Manner::Dies(4));
    let failing = [
        Manner::HasNothing,
        Manner::IgnoresRanges,
        Manner::Boasts,
        Manner::CutsShort,
    ]
    .map(|manner| provider(&blob, manner));
    let honest = provider(&blob, Manner::Honest);
    let mut all: Vec<&Provider> = failing.iter().collect();
    all.extend([&dying, &honest]);
    let fetched = world.fetch(id, &all).expect("fetched");
    assert_eq!(fetched.bytes, blob.len() as u64);
    let failed: Vec<SocketAddr> = fetched.failed.iter().map(|(one, _)| *one).collect();
    assert_eq!(failed.len(), 5, "{:?}", fetched.failed);
    assert!(matches!(fetched.failed[0].1, ProviderError::Status(status) if status == 404));
    assert!(matches!(fetched.failed[1].1, ProviderError::Status(status) if status == 200));
    assert_eq!(fetched.failed[2].1, ProviderError::TooLarge(1 << 40));
    assert_eq!(honest.asked.load(Ordering::Relaxed), 7, "the rest only");
    assert_eq!(std::fs::read(world.target()).expect("there"), blob);
    assert_eq!(world.names(), ["blob"], "nothing else is left");
}

#[test]
fn a_lie_is_found_whoever_told_it_and_never_has_the_name() {
    let world = World::new();
    let blob = blob(5 * PIECE);
    let id = BlobId::of(&blob);
    let liar = provider(&blob, Manner::Lies);
    let Err(FetchError::Nobody(failed)) = world.fetch(id, &[&liar]) else {
        panic!("a lie was taken");
    };
    assert!(matches!(failed[..], [(_, ProviderError::Lie(found))] if found != id));
    assert_eq!(world.names(), Vec::<String>::new());

    // The honest one goes on after a liar that died; all of it is wrong, and it is asked for all of it.
    let second = provider(&blob, Manner::Honest);
    let mixed = provider(&blob, Manner::Dies(2));
    let lies = {
        let mut wrong = blob.clone();
        wrong[10] ^= 0x80;
        provider(&wrong, Manner::Dies(3))
    };
    let fetched = world
        .fetch(id, &[&liar, &lies, &mixed, &second])
        .expect("fetched");
    assert_eq!(fetched.failed.len(), 3, "{:?}", fetched.failed);
    assert_eq!(std::fs::read(world.target()).expect("there"), blob);
}

#[test]
fn what_came_before_is_not_asked_for_again() {
    let world = World::new();
    let blob = blob(8 * PIECE);
    let id = BlobId::of(&blob);
    let dying = provider(&blob, Manner::Dies(5));
    assert!(matches!(
        world.fetch(id, &[&dying]),
        Err(FetchError::Nobody(_))
    ));
    let honest = provider(&blob, Manner::Honest);
    let fetched = world.fetch(id, &[&honest]).expect("fetched");
    assert_eq!(fetched.resumed, 5 * PIECE as u64);
    assert_eq!(honest.asked.load(Ordering::Relaxed), 3);

    // A part that is damaged, or longer than the blob, costs a second attempt and nothing else.
    for damaged in [vec![7; 3 * PIECE], vec![7; 20 * PIECE]] {
        let part = world.folder.path().join(format!("blob.{id}.part"));
        std::fs::write(&part, damaged).expect("written");
        std::fs::remove_file(world.target()).expect("there");
        world.fetch(id, &[&honest]).expect("fetched");
        assert_eq!(std::fs::read(world.target()).expect("there"), blob);
    }
}

#[test]
fn who_contradicts_himself_is_not_asked_again_and_again() {
    let world = World::new();
    let blob = blob(5 * PIECE);
    let id = BlobId::of(&blob);
    let stretching = provider(&blob, Manner::Stretches);
    let honest = provider(&blob, Manner::Honest);
    let fetched = world.fetch(id, &[&stretching, &honest]).expect("fetched");
    assert!(stretching.asked.load(Ordering::Relaxed) <= 6);
    assert!(matches!(fetched.failed[..], [(_, ProviderError::Status(status))] if status == 416));
    assert_eq!(std::fs::read(world.target()).expect("there"), blob);
}

#[test]
fn nobody_is_waited_for_without_end() {
    let world = World::new();
    let blob = blob(PIECE);
    let id = BlobId::of(&blob);
    let hanging = provider(&blob, Manner::Hangs);
    let settings = FetchSettings {
        patience: Duration::from_millis(300),
        ..FetchSettings::default()
    };
    let late = world.fetch_with(id, &[&hanging], &settings);
    assert!(matches!(late, Err(FetchError::TimedOut { .. })), "{late:?}");
    assert!(matches!(world.fetch(id, &[]), Err(FetchError::Nobody(failed)) if failed.is_empty()));
    // The empty blob has no providers, and needs none.
    let empty = world.fetch(BlobId::of(b""), &[]).expect("it is known");
    assert_eq!(empty.bytes, 0);
}
