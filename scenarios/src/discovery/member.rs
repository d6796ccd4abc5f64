//! A member's process, from its start to its end, and what must hold of it alone.

use super::{
    choose::{CLUSTER_SEED, KEY_FILE, blobs_directory},
    stage::{Door, MemberDoor, Stage},
};
use holdfast_blobs::MAX_DRAFTS;
use holdfast_host::{Disk, Host, OpenMode, write_all_at};
use holdfast_node::{
    Node, NodeError, Rig,
    discovery::{DiscoveryError, seed_digits},
    race::{First, first},
};
use std::{collections::BTreeSet, io, path::Path, sync::Arc, time::Duration};
use tokio::sync::Notify;

/// How often a member is looked at.
const LOOK: Duration = Duration::from_secs(3);
/// How long a node that is shut down lets requests under way finish.
const DRAIN: Duration = Duration::from_secs(2);

/// Runs a member.
pub(super) async fn live(stage: Stage, host: Host, node: u32, rig: Rig, stops: Arc<Vec<Notify>>) {
    let world = &stage.world;
    let start = stage.process_began(node);
    stage.damage(node, start);
    let before = stage.disk_errors(node);
    let is_faulty = || stage.disk_errors(node) > before;
    if host.blocking(write_key).await.is_err() {
        // The disk has failed; a supervisor tries again.
        return;
    }
    let chosen = stage.chosen.clone();
    stage.is_at(node, chosen.peer_address(node, start).to_string());
    let kind = chosen.members[node as usize];
    if start == 1 && kind.is_told {
        host.sleep(chosen.late).await;
    }
    let drafts = Taken::by(&stage, node).drafts;
    let started = match Node::start_with(host.clone(), chosen.config(node, start), rig).await {
        Ok(started) => started,
        Err(NodeError::Discovery(error))
            if !kind.is_told && matches!(*error, DiscoveryError::NotFound { .. }) =>
        {
            world.mark("looked-in-vain");
            return;
        }
        Err(_) if is_faulty() => {
            world.mark("stopped-by-a-failed-sync");
            return;
        }
        Err(error) => {
            let message = format!("a node cannot start: {error}");
            world.fail("recovery", message, Some(node));
            return;
        }
    };
    let left = Taken::by(&stage, node).drafts;
    if let Some(left) = drafts.intersection(&left).next() {
        let message = format!("after a start there is {left} still, which nobody writes");
        world.fail("drafts-left", message, Some(node));
    }
    if !kind.is_told {
        world.mark("members-found-by-key");
    }
    if kind.moves && start > 1 {
        world.mark("member-moved");
    }
    let (Some(dht), Some(discovery), Some(blobs)) =
        (started.dht(), started.discovery(), started.blobs())
    else {
        world.fail("recovery", "a node lacks a service".into(), Some(node));
        return;
    };
    let member = MemberDoor {
        discovery: discovery.clone(),
        blobs: blobs.clone(),
    };
    stage.open_door(Door {
        node,
        start,
        dht: dht.clone(),
        member: Some(member.clone()),
    });
    let told = loop {
        inspect(&stage, node, &member);
        let ended = first(started.failed(), stops[node as usize].notified());
        match first(ended, host.sleep(LOOK)).await {
            First::One(told) => break told,
            First::Other(()) => {}
        }
    };
    stage.close_door(node);
    match told {
        First::One(why) if !is_faulty() => world.fail("storage", why, Some(node)),
        First::One(_) => world.mark("stopped-by-a-failed-sync"),
        First::Other(()) => {
            started.shutdown(DRAIN).await;
            world.mark("shut-down-in-order");
        }
    }
}

/// The operator has put the secret there before the first start, and it stays.
fn write_key(disk: &mut dyn Disk) -> io::Result<()> {
    let path = Path::new(KEY_FILE);
    let folder = path.parent().expect("it lies in a folder");
    disk.create_dir(folder)?;
    let file = disk.open(path, OpenMode::Create)?;
    let text = seed_digits(&CLUSTER_SEED);
    let written = write_all_at(disk, file, 0, text.as_bytes()).and_then(|()| disk.sync(file));
    disk.close(file);
    written?;
    disk.sync_dir(folder)
}

/// What must hold at any time.
fn inspect(stage: &Stage, node: u32, member: &MemberDoor) {
    stage.check_known(node, &member.discovery.state());
    let taken = Taken::by(stage, node);
    let limits = stage.chosen.limits;
    let fail = |message: String| stage.world.fail("blob-quota", message, Some(node));
    if taken.bytes > limits.store_bytes {
        let most = limits.store_bytes;
        fail(format!("its blobs take {} bytes of {most}", taken.bytes));
    }
    let (blobs, drafts) = (taken.blobs, taken.drafts.len());
    if blobs > limits.blobs || drafts > MAX_DRAFTS {
        fail(format!("{blobs} blobs and {drafts} drafts are on its disk"));
    }
}

/// What a member's blobs take, as its disk has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    /// Files of blobs.
    pub blobs: usize,
    /// The files that have no name yet.
    pub drafts: BTreeSet<String>,
    /// The bytes of both.
    pub bytes: u64,
}

impl Taken {
    /// What is there now.
    pub(super) fn by(stage: &Stage, node: u32) -> Taken {
        let directory = blobs_directory().display().to_string();
        let files = stage.world.disk(node, |disk| disk.files());
        let mut taken = Taken::default();
        for (path, length) in files {
            let name = path.trim_start_matches('/');
            let Some(name) = name.strip_prefix(directory.trim_start_matches('/')) else {
                continue;
            };
            taken.bytes += length;
            match name.starts_with("/draft-") {
                true => drop(taken.drafts.insert(name.to_owned())),
                false => taken.blobs += 1,
            }
        }
        taken
    }
}
