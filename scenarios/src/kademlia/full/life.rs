//! A node's process from its start to its end, and what must hold of it alone.

use super::{
    choose::DIRECTORY,
    stage::{Door, Stage, TableFile},
};
use holdfast_host::Host;
use holdfast_kademlia::{MAX_SPARES, MAX_UNDER_WAY};
use holdfast_node::race::{First, first};
use holdfast_peers::{Dht, DhtError, Settings, Status};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::Notify;

/// How often a node is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How long a shutdown may take: two syncs of a disk that is as slow as disks get.
const SHUTDOWN: Duration = Duration::from_secs(180);
/// Time that what was told to stop has for it.
const AFTERWARDS: Duration = Duration::from_secs(1);
/// Lookups of a table for itself: one in each bucket, and one to join.
const OWN_LOOKUPS: usize = 161;
/// Bytes that a core may take without what it stores for others: a full table, and the most queries under way.
const CORE_BYTES: usize = 1 << 20;

/// The file of a node's table.
pub(super) fn table_path() -> PathBuf {
    PathBuf::from(DIRECTORY).join("node-0.dht")
}

/// Runs a node.
pub(super) async fn live(
    stage: Stage,
    host: Host,
    node: u32,
    settings: Settings,
    stops: Arc<Vec<Notify>>,
) {
    let world = &stage.world;
    let start = stage.process_began(node);
    stage.damage(node, start);
    let file = stage.table_file(node);
    let handle = match Dht::start(&host, settings.clone()).await {
        Ok(handle) => handle,
        Err(error) => {
            let message = format!("a node cannot start: {error}");
            world.fail("recovery", message, Some(node));
            return;
        }
    };
    // It is asked before its task has done anything: these are the ones that it begins with.
    let contacts = match handle.contacts(0).await {
        Ok(contacts) => contacts,
        Err(error) => {
            let message = format!("a node that has just started says: {error}");
            world.fail("stopped", message, Some(node));
            return;
        }
    };
    let id = handle.id(0);
    check_start(&stage, node, &file, id, &contacts);
    stage.open_door(Door {
        handle: handle.clone(),
        node,
        start,
        id,
    });
    loop {
        match first(host.sleep(LOOK), stops[node as usize].notified()).await {
            First::One(()) => {}
            First::Other(()) => break,
        }
        match handle.status().await {
            Ok(status) => inspect(&stage, node, &settings, &status),
            Err(error) => {
                let message = format!("a node that nobody stopped says: {error}");
                world.fail("stopped", message, Some(node));
                return;
            }
        }
    }
    stage.close_door(node);
    if host.timeout(SHUTDOWN, handle.shutdown()).await.is_err() {
        let message = "it does not end though it was told to".to_owned();
        world.fail("shutdown", message, Some(node));
        return;
    }
    let after = handle.lookup(0, id).await;
    if after != Err(DhtError::Stopped) {
        let message = format!("a node that was stopped says {after:?}");
        world.fail("shutdown", message, Some(node));
    }
    drop(handle);
    host.sleep(AFTERWARDS).await;
    // This one goes on.
    let left = world.tasks(node) - 1;
    if left > 0 {
        let message = format!("{left} tasks go on after the node was stopped");
        world.fail("task-leak", message, Some(node));
    }
    if world.now() > world.horizon() {
        // Disks are well again, and it saves before it ends.
        stage.has_saved(node, id);
    }
    world.mark("shut-down-in-order");
}

/// Whether a node begins with what it had saved, all of it or nothing.
fn check_start(
    stage: &Stage,
    node: u32,
    file: &TableFile,
    id: holdfast_kademlia::Id,
    contacts: &[holdfast_peers::NodeContact],
) {
    let world = &stage.world;
    let fail = |property, message: String| world.fail(property, message, Some(node));
    if let Some(saved) = stage.saved(node)
        && !matches!(file, TableFile::Whole(file) if file.id == saved)
    {
        let message = format!("a table of {saved} was saved, and there is {file}");
        fail("table-durable", message);
    }
    match file {
        TableFile::Whole(saved) => {
            if saved.id != id {
                let message = format!("the table of {} was saved, and the node is {id}", saved.id);
                fail("id-kept", message);
            }
            let known = |contact: &holdfast_peers::NodeContact| {
                let v4 = saved.v4.iter().map(|c| (c.id, c.address.into()));
                let v6 = saved.v6.iter().map(|c| (c.id, c.address.into()));
                v4.chain(v6)
                    .any(|known| known == (contact.id, contact.address))
            };
            let stranger = contacts.iter().find(|contact| !known(contact));
            if let Some(stranger) = stranger {
                let message = format!("it begins with {stranger:?}, which it had not saved");
                fail("table-taken", message);
            }
            let count = saved.v4.len() + saved.v6.len();
            if contacts.len() != count {
                let message = format!(
                    "{count} contacts were saved, and it begins with {}",
                    contacts.len()
                );
                fail("table-taken", message);
            }
            world.mark("id-kept");
            if count > 0 {
                world.mark("table-restored");
            }
        }
        TableFile::None | TableFile::Damaged => {
            if !contacts.is_empty() {
                let message = format!("there is {file}, and it begins with {contacts:?}");
                fail("table-torn", message);
            }
            if stage.had_id(node, id) {
                let message = format!("there is {file}, and it is {id} again");
                fail("table-torn", message);
            }
            if matches!(file, TableFile::Damaged) {
                world.mark("table-torn");
            }
        }
    }
}

/// What must hold at any time.
fn inspect(stage: &Stage, node: u32, settings: &Settings, status: &Status) {
    let world = &stage.world;
    let fail = |what: String| world.fail("bounds", what, Some(node));
    if status.traffic.saves > 0 {
        stage.has_saved(node, status.nodes[0].id);
    }
    if status.traffic.failed_saves > 0 {
        world.mark("save-failed");
    }
    let config = &settings.config;
    for family in &status.nodes[0].families {
        let table = &family.table;
        let contacts = table.good + table.questionable + table.bad;
        let room: usize = (0..table.buckets).map(|depth| config.room(depth)).sum();
        if contacts > room || table.spares > MAX_SPARES {
            fail(format!("a table of {table:?}"));
        }
        if family.queries > MAX_UNDER_WAY || family.lookups > config.lookups + OWN_LOOKUPS {
            let (queries, lookups) = (family.queries, family.lookups);
            fail(format!("{queries} queries and {lookups} lookups under way"));
        }
        if family.items > config.items.items || family.torrents > config.peers.torrents {
            let (items, torrents) = (family.items, family.torrents);
            fail(format!("{items} items and {torrents} torrents are stored"));
        }
        if family.bytes > CORE_BYTES {
            fail(format!("a core takes {} bytes", family.bytes));
        }
    }
}
