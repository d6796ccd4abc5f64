use super::{Grants, KeyHash, KeyId};
use holdfast_host::{BoxFuture, Host, Moment, UnixTime};
use holdfast_keys::query;
use holdfast_replica::Consistency;
use holdfast_tables::TablesHandle;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// What remains of its secret.
    pub hash: KeyHash,
    /// What it may be used for.
    pub grants: Grants,
    /// From when on it opens nothing.
    pub expires: Option<UnixTime>,
    /// Whether it was taken back.
    pub is_revoked: bool,
}

/// A store cannot tell at the moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store of API keys does not answer: {0}")]
pub struct StoreError(pub String);

/// Where keys are looked up.
pub trait KeyStore: Send + Sync + 'static {
    /// What is known of the key of this id; `None` when there is no such key here.
    fn find(&self, id: KeyId) -> BoxFuture<'_, Result<Option<Arc<StoredKey>>, StoreError>>;

    /// Something about the key of this id has changed: what was remembered of it is not to be relied on.
    fn forget(&self, _id: KeyId) {}
}

/// The keys that a configuration lists: those with which a node can be spoken to before any other is made.
#[derive(Clone, Debug, Default)]
pub struct ConfiguredKeys(BTreeMap<KeyId, Arc<StoredKey>>);

impl FromIterator<(KeyId, StoredKey)> for ConfiguredKeys {
    fn from_iter<I: IntoIterator<Item = (KeyId, StoredKey)>>(keys: I) -> Self {
        let shared = keys.into_iter().map(|(id, key)| (id, Arc::new(key)));
        ConfiguredKeys(shared.collect())
    }
}

impl KeyStore for ConfiguredKeys {
    fn find(&self, id: KeyId) -> BoxFuture<'_, Result<Option<Arc<StoredKey>>, StoreError>> {
        Box::pin(std::future::ready(Ok(self.0.get(&id).cloned())))
    }
}

/// The keys that the cluster keeps in its tables, as far as this node has applied the log.
///
/// A look-up asks nobody else and needs no leader. So a key that was made or revoked through another node is known here
/// a moment later, when its command was applied; and a node that is cut off from the others goes on with the keys that
/// it knows, as it goes on with stale reads.
pub struct ReplicatedKeys(TablesHandle);

impl ReplicatedKeys {
    /// Those in these tables.
    pub fn new(tables: TablesHandle) -> ReplicatedKeys {
        ReplicatedKeys(tables)
    }
}

impl KeyStore for ReplicatedKeys {
    fn find(&self, id: KeyId) -> BoxFuture<'_, Result<Option<Arc<StoredKey>>, StoreError>> {
        Box::pin(async move {
            let read = self.0.read(Consistency::Stale, move |reader| {
                query::credentials(reader, id)
            });
            let found = read.await.map_err(|error| StoreError(error.to_string()))?;
            Ok(found.map(|(record, hash)| {
                // A scope that only a newer program knows opens nothing here.
                let scopes = record.scopes.iter().filter_map(|scope| scope.parse().ok());
                Arc::new(StoredKey {
                    hash,
                    grants: scopes.collect(),
                    expires: record.expires_at.map(UnixTime::from_nanos),
                    is_revoked: record.revoked_at.is_some(),
                })
            }))
        })
    }
}

/// How long it is remembered at most that there is no such key: a client may have been given one before this node knows
/// of it.
const ABSENT_TTL: Duration = Duration::from_millis(500);

/// A store that remembers for a while what another said, also that there is no such key.
///
/// How long that is, is how long a revoked key may still be taken at this node after the other store knows.
pub struct CachedKeys<S> {
    host: Host,
    store: S,
    ttl: Duration,
    bound: usize,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    entries: BTreeMap<KeyId, (Moment, Option<Arc<StoredKey>>)>,
    /// In the order in which they were learned: the order in which they are forgotten.
    learned: BTreeMap<Moment, Vec<KeyId>>,
}

impl<S: KeyStore> CachedKeys<S> {
    /// Remembers at most `bound` answers of `store`, each for `ttl` by the host's monotonic clock; that there is no such
    /// key, for half a second at most.
    pub fn new(host: &Host, store: S, ttl: Duration, bound: usize) -> Self {
        CachedKeys {
            host: host.clone(),
            store,
            ttl,
            bound: bound.max(1),
            cache: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().expect("no panic under this lock")
    }

    fn remembered(&self, id: KeyId) -> Option<Option<Arc<StoredKey>>> {
        let now = self.host.now();
        let cache = self.lock();
        let (learned, known) = cache.entries.get(&id)?;
        let ttl = match known {
            Some(_) => self.ttl,
            None => self.ttl.min(ABSENT_TTL),
        };
        (now.since(*learned) < ttl).then(|| known.clone())
    }
}

impl Cache {
    fn learn(&mut self, now: Moment, id: KeyId, known: Option<Arc<StoredKey>>, bound: usize) {
        self.forget(id);
        while self.entries.len() >= bound {
            let oldest = self.learned.first_key_value().map(|(_, ids)| ids[0]);
            self.forget(oldest.expect("every entry was learned at some time"));
        }
        self.entries.insert(id, (now, known));
        self.learned.entry(now).or_default().push(id);
    }

    fn forget(&mut self, id: KeyId) {
        let Some((learned, _)) = self.entries.remove(&id) else {
            return;
        };
        let ids = self
            .learned
            .get_mut(&learned)
            .expect("an entry was learned");
        ids.retain(|one| *one != id);
        if ids.is_empty() {
            self.learned.remove(&learned);
        }
    }
}

impl<S: KeyStore> KeyStore for CachedKeys<S> {
    fn find(&self, id: KeyId) -> BoxFuture<'_, Result<Option<Arc<StoredKey>>, StoreError>> {
        Box::pin(async move {
            if let Some(known) = self.remembered(id) {
                return Ok(known);
            }
            // Asked before, not after: what changes meanwhile is learned no later than the bound says.
            let asked = self.host.now();
            let known = self.store.find(id).await?;
            self.lock().learn(asked, id, known.clone(), self.bound);
            Ok(known)
        })
    }

    fn forget(&self, id: KeyId) {
        self.lock().forget(id);
        self.store.forget(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::ApiKey;
    use holdfast_host::tokio_host;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A store that counts how often it is asked, and that can be told to know nothing or to fail.
    #[derive(Default)]
    struct Counted {
        asked: AtomicUsize,
        keys: Mutex<BTreeMap<KeyId, Arc<StoredKey>>>,
        is_down: Mutex<bool>,
    }

    impl KeyStore for Arc<Counted> {
        fn find(&self, id: KeyId) -> BoxFuture<'_, Result<Option<Arc<StoredKey>>, StoreError>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let found = match *self.is_down.lock().expect("unpoisoned") {
                true => Err(StoreError("down".into())),
                false => Ok(self.keys.lock().expect("unpoisoned").get(&id).cloned()),
            };
            Box::pin(std::future::ready(found))
        }
    }

    fn check(
        ttl: Duration,
        bound: usize,
        test: impl AsyncFnOnce(&Host, &CachedKeys<Arc<Counted>>),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        let folder = tempfile::tempdir().expect("a folder");
        let host = tokio_host::host(folder.path().to_owned(), runtime.handle().clone());
        let cached = CachedKeys::new(&host, Arc::default(), ttl, bound);
        runtime.block_on(test(&host, &cached));
    }

    fn stored(host: &Host) -> (KeyId, Arc<StoredKey>) {
        let key = ApiKey::generate(&mut host.rng("test"));
        let stored = StoredKey {
            hash: key.hash(),
            grants: Grants::everything(),
            expires: None,
            is_revoked: false,
        };
        (key.id(), Arc::new(stored))
    }

    #[test]
    fn answers_are_remembered_for_a_while_and_no_longer() {
        let ttl = Duration::from_millis(50);
        check(ttl, 10, async |host, cached| {
            let (id, key) = stored(host);
            let asked = || cached.store.asked.load(Ordering::Relaxed);
            assert_eq!(cached.find(id).await, Ok(None));
            cached
                .store
                .keys
                .lock()
                .expect("unpoisoned")
                .insert(id, key.clone());
            let began = host.now();
            let soon = cached.find(id).await;
            if host.now().since(began) < ttl / 2 {
                assert_eq!((soon, asked()), (Ok(None), 1), "also what is not there");
            }
            host.sleep(ttl).await;
            assert_eq!(cached.find(id).await, Ok(Some(key)));
            // A store that is down is not taken for one that knows nothing.
            *cached.store.is_down.lock().expect("unpoisoned") = true;
            host.sleep(ttl).await;
            assert!(cached.find(id).await.is_err());
        });
    }

    #[test]
    fn what_is_forgotten_is_asked_for_again() {
        check(Duration::from_secs(600), 10, async |host, cached| {
            let (id, key) = stored(host);
            let keys = || cached.store.keys.lock().expect("unpoisoned");
            keys().insert(id, key.clone());
            assert_eq!(cached.find(id).await, Ok(Some(key.clone())));
            let revoked = Arc::new(StoredKey {
                is_revoked: true,
                ..(*key).clone()
            });
            keys().insert(id, revoked.clone());
            assert_eq!(cached.find(id).await, Ok(Some(key)), "remembered");
            cached.forget(id);
            assert_eq!(cached.find(id).await, Ok(Some(revoked)));
            // Of one that is not there nothing is remembered for long, whatever the bound says.
            let (late, key) = stored(host);
            assert_eq!(cached.find(late).await, Ok(None));
            keys().insert(late, key.clone());
            host.sleep(ABSENT_TTL).await;
            assert_eq!(cached.find(late).await, Ok(Some(key)));
        });
    }

    #[test]
    fn no_more_is_remembered_than_the_bound_allows() {
        check(Duration::from_secs(600), 4, async |host, cached| {
            let ids: Vec<KeyId> = (0..20).map(|_| stored(host).0).collect();
            for id in &ids {
                assert_eq!(cached.find(*id).await, Ok(None));
            }
            let cache = cached.lock();
            assert_eq!(cache.entries.len(), 4);
            assert_eq!(cache.learned.values().map(Vec::len).sum::<usize>(), 4);
            assert!(
                ids[16..].iter().all(|id| cache.entries.contains_key(id)),
                "the newest stay"
            );
        });
    }
}
