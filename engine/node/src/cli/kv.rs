use super::{Connection, Failure, finish, print_json, readable};
use bytes::Bytes;
use clap::{Args, Subcommand};
use holdfast_host::Host;
use holdfast_node::{
    client::{Client, Condition, RangeQuery, WatchItem},
    wire::{Consistency, KeySet, KeyValue, RangeReply, WatchEvent, WatchLine},
};
use std::{
    io::{self, Read, Write},
    process::ExitCode,
};

/// Most pairs asked for at once by `list`; it goes on until it has all.
const PAGE: u64 = 1000;

/// Read and change keys.
#[derive(Debug, Subcommand)]
pub enum Kv {
    /// Put a key
    Put(Put),
    /// Print a key's value, or all pairs with a prefix
    Get(Get),
    /// Delete a key, or all keys with a prefix
    Delete(Delete),
    /// List keys, and how often and at which revision each was changed
    List(List),
    /// Print changes as they happen
    Watch(Watch),
    /// Forget what was before a revision
    Compact(Compact),
}

/// Put a key.
#[derive(Debug, Args)]
pub struct Put {
    /// The key
    key: String,
    /// The value; `-` reads it from standard input
    value: String,
    /// Only when the key was last changed at this revision; 0: only when it is not there
    #[arg(long, value_name = "REVISION")]
    if_revision: Option<u64>,
}

/// Print a key's value, or all pairs with a prefix.
#[derive(Debug, Args)]
pub struct Get {
    /// The key, or with --prefix what the keys begin with
    key: String,
    /// All keys that begin with KEY, one line each: key, tab, value
    #[arg(long)]
    prefix: bool,
    /// As of this revision
    #[arg(long)]
    revision: Option<u64>,
    /// Take what the node has, without asking the others
    #[arg(long)]
    stale: bool,
}

/// Delete a key, or all keys with a prefix.
#[derive(Debug, Args)]
pub struct Delete {
    /// The key, or with --prefix what the keys begin with
    key: String,
    /// All keys that begin with KEY
    #[arg(long)]
    prefix: bool,
}

/// List keys, and how often and at which revision each was changed.
#[derive(Debug, Args)]
pub struct List {
    /// Only keys that begin with this
    #[arg(default_value = "")]
    prefix: String,
}

/// Print changes as they happen.
#[derive(Debug, Args)]
pub struct Watch {
    /// Of keys that begin with this
    #[arg(default_value = "")]
    prefix: String,
    /// Begin with this revision's changes instead of now
    #[arg(long, value_name = "REVISION")]
    from: Option<u64>,
}

/// Forget what was before a revision.
#[derive(Debug, Args)]
pub struct Compact {
    /// The oldest revision that stays readable
    revision: u64,
}

/// Carries out one command.
pub async fn run(host: Host, kv: Kv, connection: Connection) -> ExitCode {
    let (host, connection) = (&host, &connection);
    finish(match kv {
        Kv::Put(put) => put.run(host, connection).await,
        Kv::Get(get) => get.run(host, connection).await,
        Kv::Delete(delete) => delete.run(host, connection).await,
        Kv::List(list) => list.run(host, connection).await,
        Kv::Watch(watch) => watch.run(host, connection).await,
        Kv::Compact(compact) => compact.run(host, connection).await,
    })
}

impl Put {
    async fn run(self, host: &Host, connection: &Connection) -> Result<(), Failure> {
        let value = if self.value == "-" {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes)?;
            Bytes::from(bytes)
        } else {
            Bytes::from(self.value)
        };
        let condition = match self.if_revision {
            None => Condition::None,
            Some(0) => Condition::Absent,
            Some(revision) => Condition::ModRevision(revision),
        };
        let client = connection.client(host).await?;
        let reply = client.put(self.key.as_bytes(), value, condition).await?;
        if connection.json {
            print_json(&reply)?;
        } else {
            writeln!(io::stdout(), "revision {}", reply.revision)?;
        }
        Ok(())
    }
}

impl Get {
    async fn run(self, host: &Host, connection: &Connection) -> Result<(), Failure> {
        let client = connection.client(host).await?;
        let consistency = if self.stale {
            Consistency::Stale
        } else {
            Consistency::Linearizable
        };
        if self.prefix {
            let query = RangeQuery {
                keys: KeySet::prefix(self.key.into_bytes()),
                revision: self.revision,
                consistency,
                ..RangeQuery::default()
            };
            return all_pages(&client, query, |page| {
                if connection.json {
                    return print_json(page);
                }
                let mut out = io::stdout().lock();
                for KeyValue { key, value, .. } in &page.kvs {
                    let value = value.as_ref().map_or(&b""[..], |value| &value.0);
                    writeln!(out, "{}\t{}", readable(&key.0), readable(value))?;
                }
                out.flush()
            })
            .await;
        }
        let reply = client
            .get(self.key.as_bytes(), self.revision, consistency)
            .await?
            .ok_or(Failure::NotFound(self.key))?;
        if connection.json {
            print_json(&reply)?;
            return Ok(());
        }
        let mut out = io::stdout().lock();
        let value = reply.pair.value.unwrap_or_default();
        out.write_all(&value.0)?;
        if !value.0.ends_with(b"\n") {
            out.write_all(b"\n")?;
        }
        out.flush()?;
        Ok(())
    }
}

impl Delete {
    async fn run(self, host: &Host, connection: &Connection) -> Result<(), Failure> {
        let client = connection.client(host).await?;
        let reply = if self.prefix {
            let keys = KeySet::prefix(self.key.clone().into_bytes());
            client.delete_range(&keys).await?
        } else {
            client.delete(self.key.as_bytes(), Condition::None).await?
        };
        if connection.json {
            print_json(&reply)?;
        } else if reply.deleted == 0 && !self.prefix {
            return Err(Failure::NotFound(self.key));
        } else {
            let (deleted, revision) = (reply.deleted, reply.revision);
            writeln!(io::stdout(), "deleted {deleted}, revision {revision}")?;
        }
        Ok(())
    }
}

impl List {
    async fn run(self, host: &Host, connection: &Connection) -> Result<(), Failure> {
        let client = connection.client(host).await?;
        let query = RangeQuery {
            keys: KeySet::prefix(self.prefix.into_bytes()),
            keys_only: true,
            ..RangeQuery::default()
        };
        all_pages(&client, query, |page| {
            if connection.json {
                return print_json(page);
            }
            let mut out = io::stdout().lock();
            for pair in &page.kvs {
                let key = readable(&pair.key.0);
                let (version, changed) = (pair.version, pair.mod_revision);
                writeln!(out, "{key}\tversion {version}\trevision {changed}")?;
            }
            out.flush()
        })
        .await
    }
}

/// Reads page after page, all as of the first one's revision.
async fn all_pages(
    client: &Client,
    mut query: RangeQuery,
    mut print: impl FnMut(&RangeReply) -> io::Result<()>,
) -> Result<(), Failure> {
    query.limit = Some(PAGE);
    let prefix = query.keys.prefix.clone().unwrap_or_default();
    loop {
        let page = client.range(&query).await?;
        print(&page)?;
        let last = page.kvs.last();
        let (true, Some(last)) = (page.more, last) else {
            return Ok(());
        };
        // The first key after the last one is that with a zero byte behind it.
        let next = [&last.key.0[..], &[0]].concat();
        query.keys = KeySet {
            start: Some(next.into()),
            end: after_prefix(&prefix.0).map(Into::into),
            ..KeySet::default()
        };
        query.revision.get_or_insert(page.revision);
    }
}

/// The first key behind all that begin with `prefix`; `None` when there is none.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

impl Watch {
    async fn run(self, host: &Host, connection: &Connection) -> Result<(), Failure> {
        let client = connection.client(host).await?;
        let mut watch = client.watch(KeySet::prefix(self.prefix.into_bytes()), self.from);
        loop {
            let item = watch.next().await?;
            let WatchItem::Events { revision, events } = item else {
                continue;
            };
            if connection.json {
                print_json(&WatchLine::Events { revision, events })?;
                continue;
            }
            let mut out = io::stdout().lock();
            for event in &events {
                match event {
                    WatchEvent::Put { kv } => {
                        let value = kv.value.as_ref().map_or(&b""[..], |value| &value.0);
                        let (key, value) = (readable(&kv.key.0), readable(value));
                        writeln!(out, "{revision}\tput\t{key}\t{value}")?;
                    }
                    WatchEvent::Delete { key } => {
                        writeln!(out, "{revision}\tdelete\t{}", readable(&key.0))?;
                    }
                }
            }
            out.flush()?;
        }
    }
}

impl Compact {
    async fn run(self, host: &Host, connection: &Connection) -> Result<(), Failure> {
        let reply = connection
            .client(host)
            .await?
            .compact(self.revision)
            .await?;
        if connection.json {
            print_json(&reply)?;
        } else {
            let (kept, now) = (reply.compact_revision, reply.revision);
            writeln!(io::stdout(), "readable from revision {kept} to {now}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_behind_all_its_keys() {
        assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_prefix(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(after_prefix(b"\xff"), None);
        assert_eq!(after_prefix(b""), None);
    }
}
