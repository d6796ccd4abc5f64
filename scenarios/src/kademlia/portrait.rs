//! What the page of a run shows of its overlay.

use super::World;
use holdfast_kademlia::{Finished, Id};
use holdfast_record::{Moment, Portrait, PortraitNode, Walk, WalkStep};
use holdfast_sim::overlay::BEGIN;
use std::net::SocketAddrV4;

const MS: f64 = 1e6;

/// Watches a run and draws it in the end.
#[derive(Debug, Default)]
pub struct Painter {
    hops: Vec<u64>,
    moments: Vec<Moment>,
    ended: u64,
    right: u64,
    last: Option<(u32, Finished<SocketAddrV4>)>,
}

impl Painter {
    /// A lookup has ended.
    pub fn ended(&mut self, node: u32, end: &Finished<SocketAddrV4>, is_right: bool) {
        self.ended += 1;
        self.right += u64::from(is_right);
        let hops = end.hops as usize;
        if self.hops.len() <= hops {
            self.hops.resize(hops + 1, 0);
        }
        self.hops[hops] += 1;
        self.last = Some((node, end.clone()));
    }

    /// Some time has passed.
    pub fn look(&mut self, world: &World) {
        let mut moment = Moment {
            at: world.now() - BEGIN,
            ended: std::mem::take(&mut self.ended),
            right: std::mem::take(&mut self.right),
            ..Moment::default()
        };
        for (_, core) in world.nodes() {
            let health = core.health(world.now());
            moment.live += 1;
            moment.good += health.good as f64;
            moment.questionable += health.questionable as f64;
            moment.bad += health.bad as f64;
        }
        let count = moment.live.max(1) as f64;
        moment.good /= count;
        moment.questionable /= count;
        moment.bad /= count;
        self.moments.push(moment);
    }

    /// The picture.
    pub fn finish(mut self, world: &World, befell: &str, usual_hops: f64) -> Portrait {
        self.look(world);
        let honest = world.nodes().map(|(_, core)| {
            let health = core.health(world.now());
            PortraitNode {
                position: position(core.id()),
                lies: false,
                good: health.good as u32,
                questionable: health.questionable as u32,
                bad: health.bad as u32,
            }
        });
        let liars = (0..world.len()).filter(|node| world.is_adversary(*node));
        let liars = liars.map(|node| PortraitNode {
            position: position(world.id(node)),
            lies: true,
            good: 0,
            questionable: 0,
            bad: 0,
        });
        let asker = self.last.as_ref().and_then(|(node, _)| world.node(*node));
        let contacts = asker.map_or_else(Vec::new, |core| {
            let own = core.id();
            let contacts = core.table().contacts();
            let place = |id: Id| (position(id), own.shared_bits(id));
            contacts.map(|contact| place(contact.id)).collect()
        });
        Portrait {
            befell: befell.to_owned(),
            nodes: honest.chain(liars).collect(),
            contacts,
            walk: self.last.map(|(node, end)| walk(world.id(node), &end)),
            hops: self.hops,
            usual_hops,
            moments: self.moments,
        }
    }
}

fn position(id: Id) -> u32 {
    let first = id.as_bytes().first_chunk().expect("an id has 20 bytes");
    u32::from_be_bytes(*first)
}

fn walk(from: Id, end: &Finished<SocketAddrV4>) -> Walk {
    let mut steps: Vec<WalkStep> = end
        .steps
        .iter()
        .map(|step| WalkStep {
            position: position(step.contact.id),
            named_by: step.named_by.map(u32::from),
            asked_ms: step.asked_after as f64 / MS,
            answered_ms: step.answered_after.map(|after| after as f64 / MS),
            is_on_the_way: false,
        })
        .collect();
    let nearest = end.closest.first().and_then(|nearest| {
        let mut steps = end.steps.iter();
        steps.position(|step| step.contact == *nearest && step.answered_after.is_some())
    });
    let mut at = nearest;
    while let Some(step) = at {
        steps[step].is_on_the_way = true;
        at = steps[step].named_by.map(|step| step as usize);
    }
    Walk {
        from: position(from),
        target: position(end.target),
        steps,
    }
}
