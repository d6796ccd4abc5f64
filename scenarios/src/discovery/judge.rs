//! Long after the last fault: everybody runs, the members know where the others are and serve together, the DHT has their
//! list, and every blob that a member must have is found and given.

use super::{
    choose::{BLOBS, CLIENT_PORT, Chosen, ITEMS_EXPIRED},
    member::Taken,
    neighbour::{client, tell_fetched},
    people::{Person, provider},
    stage::{Door, Stage},
};
use holdfast_blobs::{BlobId, fetch};
use holdfast_host::{Host, read_file};
use holdfast_http::Client as HttpClient;
use holdfast_kademlia::{Id, Request};
use holdfast_node::{
    client::{Client, ClientConfig, Condition, Retry},
    wire::Consistency,
};
use holdfast_peers::KeptKind;
use http::StatusCode;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

/// How long a blob may take, those who hang included.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long the cluster may take to answer, an election included.
const ANSWER: Duration = Duration::from_secs(180);
/// Neighbours that look the item up.
const LOOKING: usize = 4;
/// How often somebody may look in vain who is among nodes that lose datagrams.
const LOOKS: usize = 3;
/// Pauses between requests: nodes answer five queries a second of one source for ever.
const PAUSE: Duration = Duration::from_millis(500);

/// Looks at everything; how much was asked.
pub(super) async fn judge(
    stage: Stage,
    host: Host,
    number: u32,
    mutant: Option<holdfast_blobs::Mutant>,
) -> u64 {
    let mut judge = Judge {
        person: Person::new(&stage, &host, number),
        http: client(&host),
        stage,
        host,
        mutant,
        writes: 0,
    };
    judge.look("after the last fault").await;
    judge.quotas().await;
    if judge.stage.chosen.is_forgotten {
        judge.forget().await;
        judge.look("after the DHT had forgotten them").await;
    }
    judge.person.asked
}

struct Judge {
    stage: Stage,
    host: Host,
    person: Person,
    http: HttpClient,
    mutant: Option<holdfast_blobs::Mutant>,
    writes: u64,
}

impl Judge {
    fn fail(&self, property: &str, message: String, node: Option<u32>) {
        self.stage.world.fail(property, message, node);
    }

    async fn look(&mut self, when: &str) {
        self.all_run(when);
        let sequence = self.members_know(when);
        self.others_find(sequence, when).await;
        self.cluster_serves(when).await;
        for member in 0..self.stage.chosen.count() {
            for blob in 0..BLOBS {
                self.person.get(member, blob).await;
            }
        }
        self.announcements(when).await;
        self.blobs_are_found(when).await;
    }

    fn all_run(&self, when: &str) {
        for node in 0..self.stage.world.plan().nodes {
            if self.stage.door(node).is_none() {
                let message = format!("it does not run long {when}");
                self.fail("recovery", message, Some(node));
            }
        }
    }

    /// Every member knows where each is; the number of the list that they know.
    fn members_know(&self, when: &str) -> Option<i64> {
        let mut numbers = BTreeSet::new();
        for (door, member) in self.stage.members() {
            let state = member.discovery.state();
            self.stage.check_known(door.node, &state);
            let Some(known) = &state.known else {
                let message = format!("long {when} it knows no list: {:?}", state.error);
                self.fail("members-known", message, Some(door.node));
                continue;
            };
            numbers.insert(known.sequence());
            for (&number, addresses) in known.roster().members() {
                let other = number as u32 - 1;
                let kind = self.stage.chosen.members[other as usize];
                let start = self.stage.start_of(other);
                let peer = match kind.writes {
                    true => self.stage.chosen.peer_address(other, start).to_string(),
                    // Where it is it does not say.
                    false => Chosen::told_address(other),
                };
                let client = kind.writes.then(|| provider(other).to_string());
                if addresses.peer.as_ref() != Some(&peer) || addresses.client != client {
                    let message = format!(
                        "long {when} list {} of member {} has {addresses:?} of member {number}, which is at {peer}",
                        known.sequence(),
                        door.node + 1
                    );
                    self.fail("members-known", message, Some(door.node));
                }
            }
        }
        if numbers.len() > 1 {
            let message = format!("long {when} members know different lists: {numbers:?}");
            self.fail("members-agree", message, None);
        }
        numbers.last().copied()
    }

    /// Some neighbours by lot.
    fn some(&mut self, count: usize) -> Vec<Door> {
        let mut doors = self.stage.neighbours();
        self.person.draws.shuffle(&mut doors);
        doors.truncate(count);
        doors
    }

    /// Whoever asks the DHT finds the list that the members know.
    async fn others_find(&mut self, sequence: Option<i64>, when: &str) {
        let item = self.stage.item.clone();
        for door in self.some(LOOKING) {
            let mut found = None;
            for _ in 0..LOOKS {
                let request = Request::Get {
                    target: item.target(),
                    salt: item.salt.as_bytes().to_vec(),
                    is_mutable: true,
                };
                self.person.asked += 1;
                let looked = door.dht.run(0, request).await;
                let list = looked.ok().and_then(|outcome| outcome.item);
                let list = list.and_then(|list| self.stage.check_found(door.node, &list));
                found = list.map(|list| list.sequence());
                if found == sequence {
                    break;
                }
                self.host.sleep(PAUSE).await;
            }
            if found != sequence {
                let message = format!(
                    "long {when} it finds list {found:?}, and the members know {sequence:?}"
                );
                self.fail("list-found", message, Some(door.node));
            }
        }
    }

    /// What is written at one member is read at each, so each is reached by the others.
    async fn cluster_serves(&mut self, when: &str) {
        self.writes += 1;
        let value = format!("write {}", self.writes);
        let at = |member: u32| {
            let endpoint = format!("{}:{CLIENT_PORT}", super::name(member));
            let mut config = ClientConfig::new(vec![endpoint]);
            config.retry = Retry::For(ANSWER);
            Client::new(&self.host, config)
        };
        self.person.asked += 1;
        let first = at(0);
        let put = first.put(b"judge", value.clone(), Condition::None);
        if let Err(error) = put.await {
            let message = format!("long {when} the cluster takes no write: {error}");
            self.fail("cluster-serves", message, None);
            return;
        }
        for member in 0..self.stage.chosen.count() {
            self.person.asked += 1;
            let client = at(member);
            let read = client.get(b"judge", None, Consistency::Linearizable);
            let read = read.await;
            let is_right = match &read {
                Ok(Some(found)) => {
                    let found = found.pair.value.as_ref();
                    found.is_some_and(|found| found.0[..] == *value.as_bytes())
                }
                _ => false,
            };
            if !is_right {
                let message = format!("long {when} what was written is read as {read:?}");
                self.fail("cluster-serves", message, Some(member));
            }
        }
    }

    /// A member announces what it has, and nothing else.
    async fn announcements(&mut self, when: &str) {
        for (door, member) in self.stage.members() {
            let Some(listed) = self.person.list(door.node).await else {
                let message = format!("long {when} it does not list its blobs");
                self.fail("blob-list", message, Some(door.node));
                continue;
            };
            let has: BTreeSet<Id> = listed
                .iter()
                .filter_map(|one| one.id.parse::<BlobId>().ok())
                .map(BlobId::key)
                .collect();
            let Ok(kept) = door.dht.kept().await else {
                continue;
            };
            let kept = kept.iter().filter(|one| one.kind == KeptKind::Peer);
            let kept: BTreeMap<Id, Option<u32>> =
                kept.map(|one| (one.target, one.stored)).collect();
            if let Some(unsaid) = has.iter().find(|key| !kept.contains_key(key)) {
                let message = format!("long {when} it has {unsaid}, and does not announce it");
                self.fail("announces-what-it-has", message, Some(door.node));
            }
            if let Some(untrue) = kept.keys().find(|key| !has.contains(key)) {
                let message = format!("long {when} it announces {untrue}, and has it not");
                self.fail("announces-what-it-has", message, Some(door.node));
            }
            // It is the same by the store's own account.
            if member.blobs.blobs().list(None, usize::MAX).len() != listed.len() {
                let message = format!("it lists {} blobs, and has others", listed.len());
                self.fail("blob-list", message, Some(door.node));
            }
        }
    }

    /// A blob that a member must have is found by a neighbour, and given.
    async fn blobs_are_found(&mut self, when: &str) {
        for blob in 0..BLOBS {
            let holders = self.stage.ledger().holders(blob);
            let Some(door) = self.some(1).pop() else {
                return;
            };
            if holders.is_empty() {
                continue;
            }
            let id = self.stage.blobs[blob].id;
            let mut providers = Vec::new();
            for _ in 0..LOOKS {
                self.person.asked += 1;
                let found = door.dht.get_peers(0, id.key()).await;
                providers = found.map(|found| found.peers).unwrap_or_default();
                if holders
                    .iter()
                    .any(|holder| providers.contains(&provider(*holder)))
                {
                    break;
                }
                self.host.sleep(PAUSE).await;
            }
            self.person.draws.shuffle(&mut providers);
            let target = PathBuf::from(id.to_string());
            let settings = self.stage.chosen.fetching(PATIENCE, self.mutant);
            let fetched = fetch(&self.host, &self.http, id, &providers, &target, &settings).await;
            tell_fetched(&self.stage, &fetched);
            if let Err(error) = fetched {
                let message = format!(
                    "long {when} members {holders:?} have {id}, of {providers:?} that are known, and it is not fetched: {error}"
                );
                self.fail("blob-found", message, Some(door.node));
                continue;
            }
            let most = self.stage.chosen.limits.blob_bytes;
            let read = self.host.blocking(move |disk| {
                let bytes = read_file(disk, &target, most);
                disk.remove(&target)?;
                bytes
            });
            let right = &self.stage.blobs[blob].content;
            if !read.await.is_ok_and(|bytes| bytes == *right) {
                let message = format!("{id} was fetched, and is something else");
                self.fail("fetched-bytes", message, Some(door.node));
            }
        }
    }

    /// What was given up takes no room: a blob is taken when there is room for it, and then nothing else is there.
    async fn quotas(&mut self) {
        for member in 0..self.stage.chosen.count() {
            let mut has_begun = false;
            for blob in 0..BLOBS {
                let Some(listed) = self.person.list(member).await else {
                    continue;
                };
                let id = self.stage.blobs[blob].id.to_string();
                let length = self.stage.chosen.lengths[blob];
                let taken: u64 = listed.iter().map(|one| one.bytes).sum();
                let limits = self.stage.chosen.limits;
                let is_there = listed.iter().any(|one| one.id == id);
                let has_room = taken + length <= limits.store_bytes && listed.len() < limits.blobs;
                if is_there || self.stage.chosen.is_too_large(blob) {
                    continue;
                }
                let status = self.person.put(member, blob).await;
                has_begun |= status.is_some();
                let expected = match has_room {
                    true => StatusCode::OK,
                    false => StatusCode::CONFLICT,
                };
                if status != Some(expected) {
                    let message = format!(
                        "{} blobs take {taken} bytes, of {limits:?}, and one of {length} is answered {status:?}",
                        listed.len()
                    );
                    self.fail("quota-honest", message, Some(member));
                }
            }
            // The last put has begun a draft, and with that removed what was given up before.
            let drafts = Taken::by(&self.stage, member).drafts;
            if has_begun && drafts.len() > 1 {
                let message = format!("{drafts:?} are left, which nobody writes");
                self.fail("drafts-left", message, Some(member));
            }
        }
    }

    /// All members are without power until nobody knows their list any more, and are back then.
    async fn forget(&mut self) {
        let world = self.stage.world.clone();
        for member in 0..self.stage.chosen.count() {
            world.power_cut(member);
        }
        world.sleep_until(world.now() + ITEMS_EXPIRED).await;
        let item = self.stage.item.clone();
        for door in self.some(1) {
            let request = Request::Get {
                target: item.target(),
                salt: item.salt.as_bytes().to_vec(),
                is_mutable: true,
            };
            if let Ok(outcome) = door.dht.run(0, request).await {
                match outcome.item {
                    None => world.mark("list-forgotten"),
                    // Somebody has stored an old one again.
                    Some(_) => world.mark("list-kept-by-a-stranger"),
                }
            }
        }
        for member in 0..self.stage.chosen.count() {
            world.restart(member);
        }
        let settling = self.stage.chosen.settling();
        world.sleep_until(world.now() + settling).await;
    }
}
