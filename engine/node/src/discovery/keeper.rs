//! The task that looks the item up as long as the node runs, and keeps it right and remembered.

use super::{
    Addresses, ClusterSecret, ItemName, LookError, Roster, RosterError, SignError, SignedRoster,
    Unusable,
    look::{load, look},
    resolve::{DiscoveryError, key_of, save},
};
use crate::{
    Mutant,
    config::NodeConfig,
    race::{First, first},
};
use holdfast_host::{Host, Moment, UnixTime};
use holdfast_kademlia::{PutRequest, Request, SignedPut};
use holdfast_kv::Kv;
use holdfast_peers::{DhtError, DhtHandle, Outcome, Via};
use holdfast_raft::Term;
use holdfast_replica::{ReplicaHandle, Standing};
use rand_chacha::{ChaCha8Rng, rand_core::RngCore};
use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot, watch};

/// How often a writer that others were faster than looks again, in one round.
const ATTEMPTS: u32 = 5;
/// When it is looked again after a round that failed, or that changed something, unless the interval is shorter.
const SOON: Duration = Duration::from_secs(60);
/// How long a writer that came second waits at most; the wait grows with every attempt.
const BACKOFF: Duration = Duration::from_millis(500);
/// When at the latest who has begun to lead looks, and stores.
const INAUGURAL: Duration = Duration::from_secs(10);
/// Most callers who wait for a round.
const ASKED: usize = 16;
/// Errors of nodes that have another item than the one that was compared with, or a newer one (BEP 44, "Errors").
const OVERTAKEN: [i64; 2] = [301, 302];

/// Why a round came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoundError {
    /// The DHT could not be asked.
    #[error(transparent)]
    Dht(#[from] DhtError),
    /// None of the nodes that answered has the item, and this node does not write it.
    #[error("none of the {replies} nodes that answered has the cluster's item")]
    Missing {
        /// How many did.
        replies: u32,
    },
    /// Whoever has the key signed something that cannot be used. It is replaced only by who is told to.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The item is of other members. It is replaced only by who is told to.
    #[error(
        "the cluster's item, number {sequence}, lists the members {found:?}, and the members are {own:?}"
    )]
    OtherMembers {
        /// Its number.
        sequence: i64,
        /// Those that it lists.
        found: BTreeSet<u64>,
        /// Those that this node was told.
        own: BTreeSet<u64>,
    },
    /// The list is no value of an item.
    #[error(transparent)]
    List(#[from] SignError),
    /// It has the last number that there is.
    #[error("the cluster's item has the last sequence number: the cluster needs a new key")]
    Exhausted,
    /// Nobody took it.
    #[error("no node has stored the cluster's item")]
    NotStored,
    /// Others wrote it at the same time, again and again.
    #[error("others changed the cluster's item at the same time, {ATTEMPTS} times")]
    Overtaken,
    /// This node has no secret.
    #[error("this node does not write the cluster's item: it has no discovery.key_file")]
    ReadOnly,
    /// Too many wait for a round already.
    #[error("too many wait for the cluster's item already")]
    Busy,
    /// The node is being stopped.
    #[error("the node is being stopped")]
    Stopped,
}

impl From<RosterError> for RoundError {
    fn from(error: RosterError) -> Self {
        RoundError::List(error.into())
    }
}

/// What is known of the item.
#[derive(Clone, Debug)]
pub struct DiscoveryState {
    /// Its name.
    pub name: ItemName,
    /// Whether this node writes it.
    pub is_writer: bool,
    /// The newest one that was seen, of this cluster's members.
    pub known: Option<SignedRoster>,
    /// When the last round ended.
    pub looked: Option<UnixTime>,
    /// Nodes that took the item when this node stored it last.
    pub stored: Option<u32>,
    /// Why the last round came to nothing.
    pub error: Option<RoundError>,
}

/// What a round is to do.
struct Ask {
    /// Write it also where it is of other members, or no list at all.
    replace: bool,
    reply: oneshot::Sender<Result<DiscoveryState, RoundError>>,
}

/// Talks to the task. When the last one is dropped, the task ends.
#[derive(Clone)]
pub struct DiscoveryHandle {
    asked: mpsc::Sender<Ask>,
    state: Arc<Mutex<DiscoveryState>>,
}

impl DiscoveryHandle {
    /// What is known now.
    pub fn state(&self) -> DiscoveryState {
        self.state.lock().expect("no panic under this lock").clone()
    }

    /// Stores the item now, and says what is known then. With `replace`, also in place of one of other members, or of
    /// one that is no list: for an operator who knows that it is out of date.
    pub async fn publish(&self, replace: bool) -> Result<DiscoveryState, RoundError> {
        if !self.state().is_writer {
            return Err(RoundError::ReadOnly);
        }
        let (reply, outcome) = oneshot::channel();
        let asked = self.asked.try_send(Ask { replace, reply });
        asked.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => RoundError::Busy,
            mpsc::error::TrySendError::Closed(_) => RoundError::Stopped,
        })?;
        outcome.await.unwrap_or(Err(RoundError::Stopped))
    }
}

/// What the task works with.
pub(crate) struct KeeperParts<'a> {
    pub host: &'a Host,
    pub config: &'a NodeConfig,
    pub secret: Option<ClusterSecret>,
    pub dht: DhtHandle,
    pub replica: ReplicaHandle<Kv>,
    /// Where clients find this node, as it was bound.
    pub client: SocketAddr,
    /// Where the last list that was found is kept.
    pub file: PathBuf,
    /// A bug to plant.
    pub mutant: Option<Mutant>,
}

/// The task.
pub(crate) struct Keeper {
    host: Host,
    dht: DhtHandle,
    replica: ReplicaHandle<Kv>,
    name: ItemName,
    secret: Option<ClusterSecret>,
    node: u64,
    own: Addresses,
    /// Where the members are, as this node was told.
    told: BTreeMap<u64, String>,
    members: BTreeSet<u64>,
    interval: Duration,
    file: PathBuf,
    rng: ChaCha8Rng,
    state: Arc<Mutex<DiscoveryState>>,
    known: Option<SignedRoster>,
    mutant: Option<Mutant>,
}

impl Keeper {
    /// Starts it; `None` where there is no discovery.
    pub async fn start(parts: KeeperParts<'_>) -> Result<Option<DiscoveryHandle>, DiscoveryError> {
        let KeeperParts {
            host,
            config,
            secret,
            dht,
            replica,
            client,
            file,
            mutant,
        } = parts;
        if !config.discovery.is_on() {
            return Ok(None);
        }
        let key = key_of(config, secret.as_ref())?;
        let name = ItemName::new(key, config.cluster.identity());
        let (path, file_name) = (file.clone(), name.clone());
        let known = host
            .blocking(move |disk| load(disk, &path, &file_name))
            .await;
        let told = config.members();
        let members: BTreeSet<u64> = told.keys().copied().collect();
        let known = known.filter(|known| known.roster().lists(&members));
        let discovery = &config.discovery;
        let peer = discovery.advertise_peer.clone();
        let client = discovery
            .advertise_client
            .clone()
            .unwrap_or(client.to_string());
        let own = Addresses {
            peer: Some(peer.unwrap_or_else(|| replica.address().to_string())),
            client: Some(client),
        };
        let state = Arc::new(Mutex::new(DiscoveryState {
            name: name.clone(),
            is_writer: secret.is_some(),
            known: known.clone(),
            looked: None,
            stored: None,
            error: None,
        }));
        let (asked, queue) = mpsc::channel(ASKED);
        let keeper = Keeper {
            rng: host.rng("discovery"),
            host: host.clone(),
            dht,
            replica,
            name,
            secret,
            node: config.node.id,
            own,
            told,
            members,
            interval: discovery.interval,
            file,
            state: state.clone(),
            known,
            mutant,
        };
        drop(host.spawn("discovery", keeper.run(queue)));
        Ok(Some(DiscoveryHandle { asked, state }))
    }

    async fn run(mut self, mut asked: mpsc::Receiver<Ask>) {
        if let Some(known) = self.known.clone() {
            self.hint(known.roster());
        }
        // So that members that start together do not write together.
        let mut next = self.within(Duration::from_secs(1).min(self.interval));
        let (mut standing, mut led) = (self.replica.disk().standing(), 0);
        loop {
            let woken = first(asked.recv(), leads_anew(&mut standing, &mut led));
            let ask = match first(woken, self.host.clock.sleep_until(next)).await {
                First::One(First::One(None)) => return,
                First::One(First::One(Some(ask))) => Some(ask),
                First::One(First::Other(())) => {
                    // Who led before may have gone when it was his turn.
                    next = next.min(self.within(INAUGURAL.min(self.interval)));
                    continue;
                }
                First::Other(()) => None,
            };
            let before = self.known.as_ref().map(SignedRoster::sequence);
            let replace = ask.as_ref().is_some_and(|ask| ask.replace);
            let round = self.round(ask.is_some(), replace).await;
            if let Err(error) = &round {
                tracing::warn!(item = %self.name.target(), %error, "members through the DHT");
            }
            let has_changed = before != self.known.as_ref().map(SignedRoster::sequence);
            let state = self.note(&round);
            if let Some(ask) = ask {
                // Who does not wait any more is told nothing.
                let _ = ask.reply.send(round.clone().map(|_| state));
            }
            let pause = match has_changed || round.is_err() {
                true => SOON.min(self.interval),
                false => self.interval,
            };
            let early = self.jitter(pause / 10);
            next = self.host.now().saturating_add(pause - early);
        }
    }

    fn note(&self, round: &Result<Option<u32>, RoundError>) -> DiscoveryState {
        let mut state = self.state.lock().expect("no panic under this lock");
        state.known.clone_from(&self.known);
        state.looked = Some(self.host.unix_time());
        if let Ok(Some(stored)) = round {
            state.stored = Some(*stored);
        }
        state.error = round.as_ref().err().cloned();
        state.clone()
    }

    /// An instant by chance in the time that is to come.
    fn within(&mut self, most: Duration) -> Moment {
        let pause = self.jitter(most);
        self.host.now().saturating_add(pause)
    }

    fn jitter(&mut self, most: Duration) -> Duration {
        most.mul_f64(f64::from(self.rng.next_u32()) / f64::from(u32::MAX))
    }

    /// Looks, and writes where that is this node's to do; how many took it, when it was stored.
    async fn round(&mut self, mut store: bool, replace: bool) -> Result<Option<u32>, RoundError> {
        let mut anew = replace;
        let mut stored_again = None;
        for attempt in 1..=ATTEMPTS {
            let found = self.found(replace).await?;
            let Some(secret) = &self.secret else {
                return Ok(None);
            };
            let newest = self.known.as_ref();
            let wanted = match newest {
                Some(newest) => newest.roster().with(self.node, self.own.clone())?,
                None => self.first_list()?,
            };
            let next = match newest.filter(|newest| *newest.roster() == wanted && !anew) {
                Some(newest) => {
                    let is_missing = found != Some(newest.sequence());
                    if !store && !is_missing && !self.is_refresher().await {
                        return Ok(None);
                    }
                    newest.clone()
                }
                None => {
                    let last = found.max(newest.map(SignedRoster::sequence));
                    let mut sequence = next_sequence(last, self.host.unix_time())?;
                    if Mutant::SequenceNotRaised.is_in(self.mutant) {
                        sequence = last.unwrap_or(sequence);
                    }
                    SignedRoster::sign(secret, &self.name, sequence, wanted)?
                }
            };
            let is_new = Some(next.sequence()) != found;
            let outcome = self.put(&next, found.filter(|_| is_new)).await?;
            let stored = outcome.stored();
            let is_contended = OVERTAKEN.iter().any(|code| outcome.refused_with(*code) > 0);
            if stored > 0 {
                self.know(next).await;
                anew = false;
            }
            match (stored, is_contended) {
                (0, false) => return Err(RoundError::NotStored),
                (_, false) => return Ok(Some(stored)),
                // Some have another one, although others took this: it must not stay like that unseen.
                (_, true) => stored_again = (stored > 0 && !is_new).then_some(stored),
            }
            store = true;
            let pause = self.jitter(BACKOFF * attempt);
            self.host.sleep(pause).await;
        }
        // What is found is this one: those who say that they have another are few, or lie.
        if let Some(stored) = stored_again {
            return Ok(Some(stored));
        }
        Err(RoundError::Overtaken)
    }

    /// Looks the item up and takes in what is usable; the number of the one that is there. Where there is none, or one
    /// that is to be replaced, that is no failure for a writer.
    async fn found(&mut self, replace: bool) -> Result<Option<i64>, RoundError> {
        let is_writer = self.secret.is_some();
        let found = match look(&self.dht, &self.name).await {
            Ok(found) => found,
            Err(LookError::Dht(error)) => return Err(error.into()),
            Err(LookError::Missing { .. }) if is_writer => return Ok(None),
            Err(LookError::Missing { replies }) => return Err(RoundError::Missing { replies }),
            Err(LookError::Unusable(unusable)) if replace => return Ok(Some(unusable.sequence)),
            Err(LookError::Unusable(unusable)) => return Err(unusable.into()),
        };
        let sequence = found.sequence();
        if !found.roster().lists(&self.members) {
            return match replace {
                true => Ok(Some(sequence)),
                false => Err(RoundError::OtherMembers {
                    sequence,
                    found: found.roster().members().keys().copied().collect(),
                    own: self.members.clone(),
                }),
            };
        }
        // Of two with one number that one counts which others find.
        let known = self.known.as_ref().map(SignedRoster::sequence);
        if known <= Some(sequence) || Mutant::OlderListTaken.is_in(self.mutant) {
            self.know(found).await;
        }
        Ok(Some(sequence))
    }

    /// Takes in a list of this cluster's members that is newer than the last, or the last one.
    async fn know(&mut self, signed: SignedRoster) {
        if self.known.as_ref() == Some(&signed) {
            return;
        }
        tracing::info!(sequence = signed.sequence(), members = ?signed.roster().members(), "members through the DHT");
        self.hint(signed.roster());
        save(&self.host, &self.file, &signed).await;
        self.known = Some(signed);
    }

    fn hint(&self, roster: &Roster) {
        if Mutant::HintsForgotten.is_in(self.mutant) {
            return;
        }
        for (&member, addresses) in roster.members() {
            if let Some(peer) = addresses.peer.clone().filter(|_| member != self.node) {
                self.replica.hint(member, peer);
            }
        }
    }

    /// What is said when nobody has said anything yet: where this node is, and where it was told that the others are.
    fn first_list(&self) -> Result<Roster, RosterError> {
        let address = |(&member, peer): (&u64, &String)| {
            let addresses = match member == self.node {
                true => self.own.clone(),
                false => Addresses {
                    peer: Some(peer.clone()),
                    client: None,
                },
            };
            (member, addresses)
        };
        Roster::new(self.told.iter().map(address).collect())
    }

    /// Whether it is this node who stores what has not changed: the leader, or anybody when none is known. When the
    /// leader does not, the item is missing one day, and whoever notices first stores it.
    async fn is_refresher(&self) -> bool {
        match self.replica.status().await {
            Ok(status) => status.leader.is_none_or(|leader| leader == self.node),
            Err(_) => false,
        }
    }

    async fn put(&self, signed: &SignedRoster, cas: Option<i64>) -> Result<Outcome, DhtError> {
        let request = Request::Put(PutRequest {
            value: signed.value().to_vec(),
            mutable: Some(SignedPut {
                key: self.name.key.0,
                salt: self.name.salt.as_bytes().to_vec(),
                sequence: signed.sequence(),
                signature: *signed.signature(),
                cas,
            }),
        });
        self.dht.run_via(Via::Any, request).await
    }
}

/// Completes when this node leads in a term that it was not seen to lead in before.
async fn leads_anew(standing: &mut watch::Receiver<Standing>, led: &mut Term) {
    loop {
        let now = *standing.borrow_and_update();
        if now.leads && now.term > *led {
            *led = now.term;
            return;
        }
        if standing.changed().await.is_err() {
            // The replica has stopped.
            return pending().await;
        }
    }
}

/// The number of the next item: the time in microseconds, so that two writers do not have the same, or one more than
/// the last.
fn next_sequence(last: Option<i64>, now: UnixTime) -> Result<i64, RoundError> {
    let now = i64::try_from(now.as_nanos() / 1_000).unwrap_or(i64::MAX);
    match last {
        None => Ok(now),
        Some(last) => last
            .checked_add(1)
            .map(|next| next.max(now))
            .ok_or(RoundError::Exhausted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_whatever_the_clock_says() {
        let at = |micros: u64| UnixTime::from_nanos(micros * 1_000);
        assert_eq!(next_sequence(None, at(100)), Ok(100));
        assert_eq!(next_sequence(Some(57), at(100)), Ok(100));
        assert_eq!(next_sequence(Some(100), at(100)), Ok(101));
        assert_eq!(next_sequence(Some(5_000), at(100)), Ok(5_001));
        assert_eq!(
            next_sequence(Some(i64::MAX), at(100)),
            Err(RoundError::Exhausted)
        );
    }
}
