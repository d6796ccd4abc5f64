//! The DHT: what clients ask of this node in it.

use super::{Api, Call, Problem, ProblemKind, json_reply};
use crate::{
    http::{Query, ReplyBody},
    wire::{
        Value,
        dht::{
            DhtAnnounceRequest, DhtFamily, DhtItemReply, DhtKeptReply, DhtLookupReply,
            DhtNodesReply, DhtPeersReply, DhtPutRequest, DhtRefusal, DhtSample, DhtSamplesReply,
            DhtSigned, DhtStatusReply, DhtStoredReply,
        },
    },
};
use holdfast_kademlia::{
    Id, IdError, PutRequest, Request, SignedPut,
    bencode::{Decoder, Value as Bencode},
    item::SALT_LIMIT_BYTES,
};
use holdfast_peers::{DhtError, DhtHandle, KeptKind, NewItem, Outcome, Via};
use http::{Response, StatusCode};
use std::collections::BTreeSet;

/// What a failed call means: whether something may have been stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    ToFind,
    ToStore,
}

impl Api {
    pub(super) async fn dht_status(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        Query::parse(call.head.uri.query())?.finish()?;
        let dht = self.dht()?;
        let status = dht.status().await.map_err(unfound)?;
        let families = status.nodes.iter().flat_map(|node| {
            let families = node.families.iter();
            families.map(|family| DhtFamily::new(node.id, family))
        });
        Ok(json_reply(&DhtStatusReply {
            id: dht.id(0),
            families: families.collect(),
            traffic: (&status.traffic).into(),
            lookups: status.lookups as u64,
            kept: status.kept as u64,
        }))
    }

    pub(super) async fn dht_nodes(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        Query::parse(call.head.uri.query())?.finish()?;
        let dht = self.dht()?;
        // One that several nodes of this host know is told once.
        let mut nodes = BTreeSet::new();
        let mut contacts = Vec::new();
        for node in 0..dht.nodes() {
            let known = dht.contacts(node).await.map_err(unfound)?;
            contacts.extend(known.into_iter().filter(|contact| nodes.insert(*contact)));
        }
        let nodes = contacts.into_iter().map(Into::into).collect();
        Ok(json_reply(&DhtNodesReply { nodes }))
    }

    pub(super) async fn dht_lookup(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let target = target(&call)?;
        Query::parse(call.head.uri.query())?.finish()?;
        let outcome = self.dht_find(Request::FindNode { target }).await?;
        Ok(json_reply(&DhtLookupReply {
            target,
            reports: outcome.reports.iter().map(Into::into).collect(),
        }))
    }

    pub(super) async fn dht_get(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let target = target(&call)?;
        let mut query = Query::parse(call.head.uri.query())?;
        let salt = query.bytes("salt").unwrap_or_default();
        query.finish()?;
        if salt.len() > SALT_LIMIT_BYTES {
            let detail = format!("a salt has at most {SALT_LIMIT_BYTES} bytes");
            return Err(Problem::bad_request(detail));
        }
        let request = Request::Get {
            target,
            salt: salt.to_vec(),
            is_mutable: false,
        };
        let outcome = self.dht_find(request).await?;
        let Some(item) = outcome.item else {
            let replies: u32 = outcome.reports.iter().map(|report| report.replies).sum();
            let detail = format!("none of the {replies} nodes that answered has the item {target}");
            return Err(Problem::new(ProblemKind::NotFound, detail));
        };
        Ok(json_reply(&DhtItemReply {
            target,
            text: text(&item.value),
            value: Value::from(item.value),
            sequence: item.version.map(|(sequence, _)| sequence),
            signature: item
                .version
                .map(|(_, signature)| Value::from(signature.to_vec())),
        }))
    }

    pub(super) async fn dht_put(&self, mut call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        Query::parse(call.head.uri.query())?.finish()?;
        let request: DhtPutRequest = self.json(&mut call).await?;
        let keep = request.keep;
        self.dht_store(new_item(request)?, keep).await
    }

    pub(super) async fn dht_peers(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let info_hash = target(&call)?;
        Query::parse(call.head.uri.query())?.finish()?;
        let request = Request::GetPeers {
            info_hash,
            no_seeds: false,
        };
        let peers = self.dht_find(request).await?.peers;
        Ok(json_reply(&DhtPeersReply { info_hash, peers }))
    }

    pub(super) async fn dht_announce(
        &self,
        mut call: Call<'_>,
    ) -> Result<Response<ReplyBody>, Problem> {
        let info_hash = target(&call)?;
        Query::parse(call.head.uri.query())?.finish()?;
        let asked: DhtAnnounceRequest = self.json(&mut call).await?;
        let request = Request::Announce {
            info_hash,
            port: asked.port,
            is_seed: asked.seed,
        };
        self.dht_store(request, asked.keep).await
    }

    pub(super) async fn dht_samples(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let target = target(&call)?;
        Query::parse(call.head.uri.query())?.finish()?;
        let outcome = self.dht_find(Request::Sample { target }).await?;
        let samples = outcome.samples.into_iter().map(|sample| DhtSample {
            from: sample.from.into(),
            info_hashes: sample.ids,
            total: sample.total,
            interval_s: sample.interval.as_secs(),
        });
        let samples = samples.collect();
        Ok(json_reply(&DhtSamplesReply { samples }))
    }

    pub(super) async fn dht_kept(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        Query::parse(call.head.uri.query())?.finish()?;
        let kept = self.dht()?.kept().await.map_err(unfound)?;
        let kept = kept.iter().map(Into::into).collect();
        Ok(json_reply(&DhtKeptReply { kept }))
    }

    pub(super) async fn dht_forget_peer(
        &self,
        call: Call<'_>,
    ) -> Result<Response<ReplyBody>, Problem> {
        self.dht_forget(call, KeptKind::Peer).await
    }

    pub(super) async fn dht_forget_item(
        &self,
        call: Call<'_>,
    ) -> Result<Response<ReplyBody>, Problem> {
        self.dht_forget(call, KeptKind::Item).await
    }

    async fn dht_forget(
        &self,
        call: Call<'_>,
        kind: KeptKind,
    ) -> Result<Response<ReplyBody>, Problem> {
        let target = target(&call)?;
        Query::parse(call.head.uri.query())?.finish()?;
        let was_kept = self.dht()?.forget_via(Via::Each, kind, target).await;
        if !was_kept.map_err(unfound)? {
            let detail = format!("{target} is not kept");
            return Err(Problem::new(ProblemKind::NotFound, detail));
        }
        let mut response = Response::new(ReplyBody::Full(None));
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }

    /// Looks for something, through whichever address others answer.
    async fn dht_find(&self, request: Request) -> Result<Outcome, Problem> {
        let found = self.dht()?.run_via(Via::Any, request).await;
        found.map_err(unfound)
    }

    /// Stores something: who is a peer of a torrent is so at each address of this host, and an item is the same from
    /// whichever (BEP 45).
    async fn dht_store(
        &self,
        request: Request,
        keep: bool,
    ) -> Result<Response<ReplyBody>, Problem> {
        let dht = self.dht()?;
        let via = match request {
            Request::Announce { .. } => Via::Each,
            _ => Via::Any,
        };
        let stored = match keep {
            true => dht.keep_via(via, request).await,
            false => dht.run_via(via, request).await,
        };
        let outcome = stored.map_err(unstored)?;
        Ok(json_reply(&stored_reply(&outcome)))
    }

    fn dht(&self) -> Result<&DhtHandle, Problem> {
        self.dht.as_ref().ok_or_else(|| {
            let detail =
                "this node is none of the DHT: its configuration does not say `dht.enabled = true`";
            Problem::new(ProblemKind::NotFound, detail)
        })
    }
}

fn target(call: &Call<'_>) -> Result<Id, Problem> {
    let target = call.path.get("target");
    let text = std::str::from_utf8(&target).map_err(|_| IdError);
    let parsed = text.and_then(str::parse);
    parsed.map_err(|error: IdError| Problem::bad_request(error.to_string()))
}

fn new_item(request: DhtPutRequest) -> Result<Request, Problem> {
    let value = match (request.value, request.text) {
        (Some(value), None) => value.0.to_vec(),
        (None, Some(text)) => NewItem::text(text.as_bytes()),
        _ => return Err(Problem::bad_request("an item has either `value` or `text`")),
    };
    let mutable = request.mutable.map(signed).transpose()?;
    Ok(Request::Put(PutRequest { value, mutable }))
}

fn signed(signed: DhtSigned) -> Result<SignedPut, Problem> {
    fn exactly<const N: usize>(name: &str, value: &Value) -> Result<[u8; N], Problem> {
        let bytes = value.0.as_ref().try_into();
        bytes.map_err(|_| Problem::bad_request(format!("`{name}` has {N} bytes")))
    }
    Ok(SignedPut {
        key: exactly("key", &signed.key)?,
        salt: signed.salt.0.to_vec(),
        sequence: signed.sequence,
        signature: exactly("signature", &signed.signature)?,
        cas: signed.cas,
    })
}

fn stored_reply(outcome: &Outcome) -> DhtStoredReply {
    let mut refusals: Vec<DhtRefusal> = Vec::new();
    for (code, nodes) in outcome.reports.iter().flat_map(|report| &report.refusals) {
        match refusals.iter_mut().find(|known| known.code == *code) {
            Some(known) => known.nodes += u64::from(*nodes),
            None => refusals.push(DhtRefusal {
                code: *code,
                nodes: u64::from(*nodes),
            }),
        }
    }
    DhtStoredReply {
        target: outcome.target,
        stored: outcome.stored().into(),
        refusals,
    }
}

/// A bencoded string that is text.
fn text(value: &[u8]) -> Option<String> {
    match Decoder::new(value).value() {
        Ok(Bencode::Bytes(bytes)) => String::from_utf8(bytes.to_vec()).ok(),
        _ => None,
    }
}

fn unfound(error: DhtError) -> Problem {
    problem(error, Asked::ToFind)
}

pub(super) fn unstored(error: DhtError) -> Problem {
    problem(error, Asked::ToStore)
}

fn problem(error: DhtError, asked: Asked) -> Problem {
    let kind = match error {
        DhtError::Overloaded => ProblemKind::Overloaded,
        DhtError::Invalid(_) => ProblemKind::BadRequest,
        DhtError::TimedOut | DhtError::Stopped if asked == Asked::ToStore => {
            ProblemKind::OutcomeUnknown
        }
        DhtError::TimedOut => ProblemKind::ReadTimeout,
        DhtError::Stopped => ProblemKind::Unavailable,
        DhtError::KeepsEnough => ProblemKind::QuotaReached,
        DhtError::NoSuchNode(_) | DhtError::TooManyNodes | DhtError::NotKept => {
            ProblemKind::Internal
        }
    };
    Problem::new(kind, error.to_string())
}
