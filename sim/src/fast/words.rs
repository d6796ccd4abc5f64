//! What happens, in the few words that a timeline has room for.

use super::cluster::ParcelBody;
use crate::link::Disturbance;
use crate::plan::Strike;
use holdfast_raft::{Body, Event as RaftEvent};
use holdfast_replica::{Event, Message};

/// A message.
pub(super) fn message<C, A>(body: &ParcelBody<C, A>) -> String {
    match body {
        ParcelBody::Peer(Message::Raft(message)) => {
            let what = match &message.body {
                Body::Vote { pre: true, .. } => "pre-vote?".into(),
                Body::Vote { .. } => "vote?".into(),
                Body::VoteReply { granted, .. } => format!("vote: {granted}"),
                Body::Append {
                    prev_index,
                    entries,
                    ..
                } => format!("append {} @{prev_index}", entries.len()),
                Body::Appended { matched } => format!("appended @{matched}"),
                Body::AppendRejected { hint_index, .. } => format!("rejected, try @{hint_index}"),
                Body::Heartbeat { commit, .. } => format!("heartbeat, commit {commit}"),
                Body::HeartbeatReply { .. } => "heartbeat reply".into(),
                Body::Snapshot { meta } => format!("snapshot @{}", meta.index),
                Body::Propose { payloads, .. } => format!("propose {}", payloads.len()),
                Body::ReadIndex { .. } => "read index?".into(),
                Body::ReadIndexReply { index, .. } => format!("read index {index}"),
                Body::TransferLeader { to } => format!("transfer to {to}"),
                Body::TimeoutNow => "campaign now".into(),
                Body::ProposalRefused { .. } => "proposal refused".into(),
                Body::ReadRefused { .. } => "read refused".into(),
            };
            format!("{what} (term {})", message.term)
        }
        ParcelBody::Peer(Message::SnapshotChunk { meta, offset, .. }) => {
            format!("snapshot @{} from byte {offset}", meta.index)
        }
        ParcelBody::Peer(Message::SnapshotReceived { received, .. }) => {
            format!("snapshot: {received} bytes there")
        }
        ParcelBody::Request { .. } => "request".into(),
        ParcelBody::Reply { .. } => "reply".into(),
    }
}

/// Something that a replica tells; `None` for what the timeline shows in another way, or too often to say anything.
pub fn event(event: &Event) -> Option<String> {
    Some(match event {
        Event::Raft(event) => return raft_event(event),
        Event::Applied { .. } => return None,
        Event::SnapshotTaken { index } => format!("took a snapshot @{index}"),
        Event::SnapshotInstalled { index } => format!("installed a snapshot @{index}"),
        Event::SnapshotResumed { offset } => {
            format!("a snapshot's transfer goes on from byte {offset}")
        }
        Event::DuplicateSuppressed { index } => {
            format!("entry {index} was there already: not applied")
        }
    })
}

fn raft_event(event: &RaftEvent) -> Option<String> {
    Some(match event {
        RaftEvent::Role { .. } | RaftEvent::LeaseRead => return None,
        RaftEvent::Leader {
            leader: Some(leader),
            term,
        } => format!("node {leader} leads term {term}"),
        RaftEvent::Leader { leader: None, .. } => "knows no leader".into(),
        RaftEvent::Commit { index } => format!("committed up to {index}"),
        RaftEvent::Conflict { index } => format!("entries from {index} on conflict: replaced"),
        RaftEvent::SnapshotNeeded { to, index } => format!("node {to} needs a snapshot @{index}"),
        RaftEvent::QuorumRead { reads } => format!("a quorum confirmed {reads} reads"),
        RaftEvent::ReadForwarded => "passed a read on to the leader".into(),
        RaftEvent::Transfer { to } => format!("hands leadership to node {to}"),
        RaftEvent::CampaignOrdered => "was told to campaign".into(),
        RaftEvent::LostQuorum => "heard from no quorum: stepped down".into(),
    })
}

/// What a fault does, beside its kind and its lanes.
pub(crate) fn strike(strike: &Strike, nodes: u32) -> String {
    let names = |of: &[u32]| -> String {
        let name = |&lane: &u32| match lane.checked_sub(nodes) {
            None => format!("node {}", lane + 1),
            Some(client) => format!("client {}", client + 1),
        };
        of.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    match strike {
        Strike::Network(disturbance) => match disturbance {
            Disturbance::Partition { side } => format!("{} | the others", names(side)),
            Disturbance::Bridge { side, bridge } => {
                format!(
                    "{} | the others, node {} reaches both",
                    names(side),
                    bridge + 1
                )
            }
            Disturbance::Isolate { endpoints } => format!("{} alone", names(endpoints)),
            Disturbance::OneWay { from, to } => {
                format!("nothing gets from {} to {}", names(from), names(to))
            }
            Disturbance::Hold { from, to, until } => format!(
                "what {} sends to {} waits until {:.3} s",
                names(from),
                names(to),
                *until as f64 / 1e9
            ),
            Disturbance::Loss {
                from,
                to,
                probability,
            } => format!(
                "{:.1} % of what {} sends to {}",
                probability * 100.0,
                names(from),
                names(to)
            ),
        },
        Strike::Ambush { lives_ns, down_ns } => format!(
            "every new leader dies after {:.3} s, for {:.3} s",
            *lives_ns as f64 / 1e9,
            *down_ns as f64 / 1e9
        ),
        Strike::Kill(of) | Strike::PowerCut(of) | Strike::Pause(of) | Strike::SyncError(of) => {
            names(of)
        }
        Strike::SlowDisk { nodes: of, factor } => format!("{}, {factor} times as slow", names(of)),
        Strike::ClockStep {
            nodes: of,
            delta_ns,
        } => format!("{} by {:+.3} s", names(of), *delta_ns as f64 / 1e9),
        Strike::ClockDrift {
            nodes: of,
            drift_ppm,
        } => format!("{} by {drift_ppm:+} ppm", names(of)),
    }
}
