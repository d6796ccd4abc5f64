//! Getting a blob from providers, none of whom is believed.
//!
//! What comes is written to a part file beside the target, and hashed while it comes. A provider that fails is followed
//! by the next, which goes on where it stopped; so does the next call. When all is there and the hash is not the name,
//! somebody has lied, or the part file was damaged: it is begun anew, and the provider who came last is asked for all
//! of it alone. Who is caught lying in this way is not asked again. Only what was verified and synced is given the
//! target's name.

use crate::{BlobId, Mutant, store::hash};
use bytes::Bytes;
use holdfast_host::{Disk, FileId, Host, OpenMode, write_all_at};
use holdfast_http::{BodyPolicy, Client, Head, Request};
use http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use url::Url;

/// How a blob is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchSettings {
    /// Largest blob that is taken, bytes.
    pub blob_bytes: u64,
    /// Most providers that are asked.
    pub providers: usize,
    /// How much is asked for at once, bytes: as much is in memory.
    pub piece_bytes: u64,
    /// How long all of it may take.
    pub patience: Duration,
    /// A bug to plant; has an effect only where debug assertions are on.
    pub mutant: Option<Mutant>,
}

impl Default for FetchSettings {
    fn default() -> Self {
        FetchSettings {
            blob_bytes: 64 << 20,
            providers: 16,
            piece_bytes: 1 << 20,
            patience: Duration::from_secs(600),
            mutant: None,
        }
    }
}

/// A blob that was fetched and is what its name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// How long it is.
    pub bytes: u64,
    /// How much of it was there from before.
    pub resumed: u64,
    /// Providers that failed.
    pub failed: Vec<(SocketAddr, ProviderError)>,
}

/// Why a provider did not give a blob.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// No answer.
    #[error("{0}")]
    Http(String),
    /// Another answer than a range.
    #[error("it answers {0}")]
    Status(StatusCode),
    /// A range that was not asked for.
    #[error("it gives another range than the one that was asked for")]
    Range,
    /// It says that the blob is larger than is taken.
    #[error("it says that the blob has {0} bytes, which is more than is taken")]
    TooLarge(u64),
    /// What it gave is something else.
    #[error("what it gives is another blob, {0}")]
    Lie(BlobId),
}

/// Why a blob was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nobody has given it.
    #[error("{}", told(.0))]
    Nobody(Vec<(SocketAddr, ProviderError)>),
    /// It took too long; what came is kept for the next attempt.
    #[error("not all of the blob came in time; what did is kept in {}", part.display())]
    TimedOut {
        /// Where.
        part: PathBuf,
    },
    /// It is being fetched to the same place.
    #[error("{} is being fetched by another process", target.display())]
    InUse {
        /// The place.
        target: PathBuf,
    },
    /// The disk refused.
    #[error("{}: {error}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

fn told(failed: &[(SocketAddr, ProviderError)]) -> String {
    if failed.is_empty() {
        return "nobody is known to provide the blob".to_owned();
    }
    let told = failed
        .iter()
        .map(|(provider, error)| format!("{provider}: {error}"));
    let told: Vec<String> = told.collect();
    format!("no provider gave the blob ({})", told.join("; "))
}

/// Fetches a blob to `target` from these providers, asked in this order; what is there of that name is replaced.
///
/// Beside it is `<target>.<id>.part` with what came so far, which is locked while it is being fetched.
pub async fn fetch(
    host: &Host,
    client: &Client,
    id: BlobId,
    providers: &[SocketAddr],
    target: &Path,
    settings: &FetchSettings,
) -> Result<Fetched, FetchError> {
    let mut part = Part::open(host, id, target, settings).await?;
    let resumed = part.bytes;
    let mut failed = Vec::new();
    let pulling = part.pull_from(client, providers, &mut failed);
    let pulled = host.timeout(settings.patience, pulling).await;
    let pulled = pulled.unwrap_or_else(|_| {
        let part = part.path.clone();
        Err(FetchError::TimedOut { part })
    });
    let bytes = part.bytes;
    let ended = match pulled {
        Ok(true) => part.finish(target).await.map(|()| true),
        other => other,
    };
    part.close().await;
    match ended {
        Ok(true) => Ok(Fetched {
            bytes,
            resumed: resumed.min(bytes),
            failed,
        }),
        Ok(false) => Err(FetchError::Nobody(failed)),
        Err(error) => Err(error),
    }
}

/// What came so far.
struct Part {
    host: Host,
    id: BlobId,
    settings: FetchSettings,
    path: PathBuf,
    files: OpenFiles,
    bytes: u64,
    hasher: Sha256,
    /// Whose bytes are in it; `None`: from before.
    sources: BTreeSet<Option<SocketAddr>>,
}

/// Closed however the fetching ends, also when nobody waits for it any more.
struct OpenFiles {
    host: Host,
    part: FileId,
    lock: FileId,
    are_open: bool,
}

impl Drop for OpenFiles {
    fn drop(&mut self) {
        if !self.are_open {
            return;
        }
        let (host, part, lock) = (self.host.clone(), self.part, self.lock);
        let closing = async move {
            let closed = host.blocking(move |disk| {
                disk.close(part);
                disk.close(lock);
            });
            closed.await;
        };
        drop(self.host.spawn("blob-close", closing));
    }
}

enum Failed {
    Provider(ProviderError),
    Disk(FetchError),
}

impl From<FetchError> for Failed {
    fn from(error: FetchError) -> Self {
        Failed::Disk(error)
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> FetchError {
    let path = path.to_owned();
    move |error| FetchError::Disk { path, error }
}

/// The path with this at its end.
fn beside(target: &Path, ending: impl fmt::Display) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(format!(".{ending}"));
    name.into()
}

impl Part {
    async fn open(
        host: &Host,
        id: BlobId,
        target: &Path,
        settings: &FetchSettings,
    ) -> Result<Part, FetchError> {
        // The blob's name is in it: what came of another one is of no use.
        let path = beside(target, format_args!("{id}.part"));
        let (limit, host) = (settings.blob_bytes, host.clone());
        let (settings, target, own) = (*settings, target.to_owned(), host.clone());
        let opened = host.blocking(move |disk| {
            let lock = disk.lock(&path).map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => FetchError::InUse { target },
                _ => failed(&path)(error),
            })?;
            match begin(disk, &path, limit) {
                Ok((part, bytes, hasher)) => Ok(Part {
                    id,
                    settings,
                    path,
                    files: OpenFiles {
                        host: own.clone(),
                        part,
                        lock,
                        are_open: true,
                    },
                    host: own,
                    bytes,
                    hasher,
                    sources: (bytes > 0).then_some(None).into_iter().collect(),
                }),
                Err(error) => {
                    disk.close(lock);
                    Err(failed(&path)(error))
                }
            }
        });
        opened.await
    }

    fn found(&self) -> BlobId {
        BlobId(self.hasher.clone().finalize().into())
    }

    /// Pulls until all is there and right; false: nobody gave it.
    async fn pull_from(
        &mut self,
        client: &Client,
        providers: &[SocketAddr],
        failed: &mut Vec<(SocketAddr, ProviderError)>,
    ) -> Result<bool, FetchError> {
        if self.found() == self.id {
            return Ok(true);
        }
        for &provider in providers.iter().take(self.settings.providers) {
            loop {
                match self.pull(client, provider).await {
                    Ok(()) => {}
                    Err(Failed::Disk(error)) => return Err(error),
                    Err(Failed::Provider(error)) => {
                        tracing::debug!(%provider, %error, blob = %self.id, "a provider failed");
                        failed.push((provider, error));
                        break;
                    }
                }
                let found = self.found();
                if found == self.id || Mutant::HashUnchecked.is_in(self.settings.mutant) {
                    return Ok(true);
                }
                let is_his = self.sources.iter().all(|source| *source == Some(provider));
                self.clear().await?;
                if is_his {
                    tracing::warn!(%provider, %found, blob = %self.id, "a provider lied");
                    failed.push((provider, ProviderError::Lie(found)));
                    break;
                }
            }
        }
        Ok(false)
    }

    /// Pulls the rest from one provider.
    async fn pull(&mut self, client: &Client, provider: SocketAddr) -> Result<(), Failed> {
        let url = format!("http://{provider}/v1/blobs/{}", self.id);
        let url = Url::parse(&url).map_err(|error| provider_failed(error.to_string()))?;
        let most = self.settings.piece_bytes;
        let mut total = None;
        while total.is_none_or(|total| self.bytes < total) {
            let last = self.bytes + most - 1;
            let request = Request::get(url.clone())
                .header("range", &format!("bytes={}-{last}", self.bytes))
                .map_err(|error| provider_failed(error.to_string()))?;
            let choose = move |head: &Head| match head.status {
                StatusCode::PARTIAL_CONTENT => BodyPolicy::Collect { max: most },
                _ => BodyPolicy::Discard,
            };
            let response = client.send(&request, &choose).await;
            let response = response.map_err(|error| provider_failed(error.to_string()))?;
            match response.head.status {
                StatusCode::PARTIAL_CONTENT => {}
                // There is more here from before than the blob has. Who has just said how long it is contradicts
                // himself, and would be asked again and again.
                StatusCode::RANGE_NOT_SATISFIABLE if self.bytes > 0 && total.is_none() => {
                    self.clear().await?;
                    continue;
                }
                status => return Err(Failed::Provider(ProviderError::Status(status))),
            }
            let range = content_range(&response.head.headers);
            let (start, end, all) = range.ok_or(Failed::Provider(ProviderError::Range))?;
            if all > self.settings.blob_bytes {
                return Err(Failed::Provider(ProviderError::TooLarge(all)));
            }
            let is_asked =
                start == self.bytes && end < all && total.is_none_or(|total| total == all);
            if !is_asked || response.body.len() as u64 != end - start + 1 {
                return Err(Failed::Provider(ProviderError::Range));
            }
            self.write(provider, response.body).await?;
            total = Some(all);
        }
        Ok(())
    }

    async fn write(&mut self, provider: SocketAddr, bytes: Bytes) -> Result<(), FetchError> {
        self.sources.insert(Some(provider));
        let (file, at, piece) = (self.files.part, self.bytes, bytes.clone());
        let written = self
            .host
            .blocking(move |disk| write_all_at(disk, file, at, &piece));
        written.await.map_err(failed(&self.path))?;
        self.hasher.update(&bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    async fn clear(&mut self) -> Result<(), FetchError> {
        let file = self.files.part;
        let cleared = self.host.blocking(move |disk| disk.set_len(file, 0));
        cleared.await.map_err(failed(&self.path))?;
        self.bytes = 0;
        self.hasher = Sha256::new();
        self.sources.clear();
        Ok(())
    }

    /// Gives what is right its name, durably.
    async fn finish(&self, target: &Path) -> Result<(), FetchError> {
        let (file, target) = (self.files.part, target.to_owned());
        let path = self.path.clone();
        let finished = self.host.blocking(move |disk| {
            let folder = match target.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => folder,
                _ => Path::new("."),
            };
            // What a sync that failed should have covered is not known: it is fetched again.
            if let Err(error) = disk.sync(file) {
                let _ = disk.remove(&path);
                return Err(failed(&path)(error));
            }
            disk.rename(&path, &target).map_err(failed(&target))?;
            disk.sync_dir(folder).map_err(failed(folder))
        });
        finished.await
    }

    /// Closes the files; a part with nothing in it is no use to anybody.
    async fn close(mut self) {
        self.files.are_open = false;
        let (part, lock) = (self.files.part, self.files.lock);
        let litter = (self.bytes == 0).then(|| self.path.clone());
        let closed = self.host.blocking(move |disk| {
            if let Some(path) = litter {
                // Where it was given its name it is not there any more.
                let _ = disk.remove(&path);
            }
            disk.close(part);
            disk.close(lock);
        });
        closed.await;
    }
}

fn provider_failed(detail: String) -> Failed {
    Failed::Provider(ProviderError::Http(detail))
}

/// What is there from before, and its hash.
fn begin(disk: &mut dyn Disk, path: &Path, limit: u64) -> io::Result<(FileId, u64, Sha256)> {
    // The lock has made it. Where it is gone, it was given its name between the two.
    let file = disk.open(path, OpenMode::Write)?;
    let read = (|| {
        let bytes = disk.len(file)?;
        if bytes > limit {
            disk.set_len(file, 0)?;
            return Ok((file, 0, Sha256::new()));
        }
        Ok((file, bytes, hash(disk, file, bytes)?))
    })();
    if read.is_err() {
        disk.close(file);
    }
    read
}

/// First byte, last byte, and length of all, of a `Content-Range` (RFC 9110, section 14.4).
fn content_range(headers: &HeaderMap) -> Option<(u64, u64, u64)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, all) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let number = |text: &str| {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| is_number)
    };
    let (start, end, all) = (number(start)?, number(end)?, number(all)?);
    (start <= end).then_some((start, end, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_strictly() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_RANGE, text.parse().expect("a value"));
            content_range(&headers)
        };
        assert_eq!(read("bytes 0-9/10"), Some((0, 9, 10)));
        assert_eq!(read("bytes 5-5/7"), Some((5, 5, 7)));
        for bad in [
            "",
            "bytes 0-9/*",
            "bytes */10",
            "bytes 9-0/10",
            "bytes +0-9/10",
            "bytes 0-9",
            "lines 0-9/10",
            "bytes 0-99999999999999999999/10",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
