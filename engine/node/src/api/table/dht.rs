//! The DHT's part of the table.

use super::{
    Access, BodyLimit, Content, Effect, Head, Kind, Operation, Parameter, Path, Place, Reply,
    RequestBody, Run, Service,
};
use crate::{auth::Scope, http::ProblemKind as P};
use http::Method;

pub(super) static SERVICE: Service = Service {
    name: "dht",
    about: "This node as one of the BitTorrent DHT (BEP 5, BEP 44, BEP 51), where `[dht]` of its configuration says so. What \
            it does there is its own: the cluster replicates none of it.",
    schemas: include_str!("../../wire/dht.json"),
    paths: &[
        Path {
            template: "/v1/dht",
            label: "dht",
            parameters: &[],
            operations: &[STATUS],
        },
        Path {
            template: "/v1/dht/nodes",
            label: "dht-nodes",
            parameters: &[],
            operations: &[NODES],
        },
        Path {
            template: "/v1/dht/lookup/{target}",
            label: "dht-lookup",
            parameters: &[TARGET],
            operations: &[LOOKUP],
        },
        Path {
            template: "/v1/dht/items",
            label: "dht-items",
            parameters: &[],
            operations: &[PUT],
        },
        Path {
            template: "/v1/dht/items/{target}",
            label: "dht-item",
            parameters: &[TARGET],
            operations: &[GET],
        },
        Path {
            template: "/v1/dht/peers/{target}",
            label: "dht-peers",
            parameters: &[TARGET],
            operations: &[PEERS, ANNOUNCE],
        },
        Path {
            template: "/v1/dht/samples/{target}",
            label: "dht-samples",
            parameters: &[TARGET],
            operations: &[SAMPLES],
        },
        Path {
            template: "/v1/dht/cluster",
            label: "dht-cluster",
            parameters: &[],
            operations: &[CLUSTER, PUBLISH],
        },
        Path {
            template: "/v1/dht/kept",
            label: "dht-kept",
            parameters: &[],
            operations: &[KEPT],
        },
        Path {
            template: "/v1/dht/kept/peers/{target}",
            label: "dht-kept-peer",
            parameters: &[TARGET],
            operations: &[FORGET_PEER],
        },
        Path {
            template: "/v1/dht/kept/items/{target}",
            label: "dht-kept-item",
            parameters: &[TARGET],
            operations: &[FORGET_ITEM],
        },
    ],
};

const TARGET: Parameter = Parameter {
    name: "target",
    place: Place::Path,
    kind: Kind::Text,
    about: "A torrent's info-hash, or what an item is stored under: 40 hexadecimal digits.",
};
const SALT: Parameter = Parameter::query(
    "salt",
    Kind::Text,
    "The salt under which a mutable item was stored, percent-encoded.",
);
/// The node is none of the DHT, or has too much to do.
const NONE: &[P] = &[P::NotFound, P::Overloaded, P::Unavailable];
const SEARCHED: &[P] = &[P::ReadTimeout, P::Internal];
const STORED: &[P] = &[P::QuotaReached, P::OutcomeUnknown, P::Internal];

const fn read(
    (id, summary): (&'static str, &'static str),
    parameters: &'static [Parameter],
    reply: Reply,
    run: Run,
) -> Operation {
    Operation {
        method: Method::GET,
        head: Head::AsGet,
        id,
        summary,
        access: Access::Scope(Scope::DHT_READ),
        effect: Effect::Read,
        parameters,
        request: None,
        reply,
        refusals: &[NONE, SEARCHED],
        run,
    }
}

const STATUS: Operation = read(
    ("dhtStatus", "Show how the node fares in the DHT"),
    &[],
    Reply::json("DhtStatusReply", "How it fares."),
    |api, call| Box::pin(api.dht_status(call)),
);

const NODES: Operation = read(
    ("dhtNodes", "List the contacts in the node's tables"),
    &[],
    Reply::json("DhtNodesReply", "The contacts, those of IPv4 first."),
    |api, call| Box::pin(api.dht_nodes(call)),
);

const LOOKUP: Operation = read(
    ("dhtLookup", "Find the nodes closest to an id, hop by hop"),
    &[],
    Reply::json(
        "DhtLookupReply",
        "Who is closest, and who was asked on the way.",
    ),
    |api, call| Box::pin(api.dht_lookup(call)),
);

const GET: Operation = read(
    ("dhtGetItem", "Find an item"),
    &[SALT],
    Reply::json("DhtItemReply", "The item, the newest that was found."),
    |api, call| Box::pin(api.dht_get(call)),
);

const PEERS: Operation = read(
    ("dhtGetPeers", "Find the peers of a torrent"),
    &[],
    Reply::json("DhtPeersReply", "Its peers."),
    |api, call| Box::pin(api.dht_peers(call)),
);

const SAMPLES: Operation = read(
    (
        "dhtSample",
        "Ask nodes around an id which torrents they know of",
    ),
    &[],
    Reply::json("DhtSamplesReply", "What nodes around the id know of."),
    |api, call| Box::pin(api.dht_samples(call)),
);

const CLUSTER: Operation = read(
    (
        "dhtShowCluster",
        "Show where the DHT says that the members are",
    ),
    &[],
    Reply::json(
        "DhtClusterReply",
        "What was found the last time that it was looked for.",
    ),
    |api, call| Box::pin(api.dht_cluster(call)),
);

const PUBLISH: Operation = Operation {
    method: Method::POST,
    head: Head::No,
    id: "dhtPublishCluster",
    summary: "Tell the DHT where the members are",
    access: Access::Scope(Scope::DHT_WRITE),
    effect: Effect::Change,
    parameters: &[Parameter::query(
        "replace",
        Kind::Switch,
        "Also in place of an item of other members, or of one that is no list of members.",
    )],
    request: None,
    reply: Reply::json("DhtClusterReply", "What is known of the item then."),
    refusals: &[NONE, STORED, &[P::WrongStatus]],
    run: |api, call| Box::pin(api.dht_publish(call)),
};

const KEPT: Operation = read(
    ("dhtListKept", "List what the node stores again and again"),
    &[],
    Reply::json("DhtKeptReply", "What is stored again and again."),
    |api, call| Box::pin(api.dht_kept(call)),
);

const PUT: Operation = Operation {
    method: Method::POST,
    head: Head::No,
    id: "dhtPutItem",
    summary: "Store an item in the DHT",
    access: Access::Scope(Scope::DHT_WRITE),
    effect: Effect::Change,
    parameters: &[],
    request: Some(RequestBody {
        content: Content::Json("DhtPutRequest"),
        limit: BodyLimit::Body,
        about: "The item.",
    }),
    reply: Reply::json("DhtStoredReply", "How many nodes took it. It may be none."),
    refusals: &[NONE, STORED],
    run: |api, call| Box::pin(api.dht_put(call)),
};

const ANNOUNCE: Operation = Operation {
    method: Method::POST,
    head: Head::No,
    id: "dhtAnnounce",
    summary: "Make a peer of a torrent known",
    access: Access::Scope(Scope::DHT_WRITE),
    effect: Effect::Change,
    parameters: &[],
    request: Some(RequestBody {
        content: Content::Json("DhtAnnounceRequest"),
        limit: BodyLimit::Body,
        about: "The peer; its address is this node's.",
    }),
    reply: Reply::json("DhtStoredReply", "How many nodes took it. It may be none."),
    refusals: &[NONE, STORED],
    run: |api, call| Box::pin(api.dht_announce(call)),
};

const fn forget((id, summary): (&'static str, &'static str), run: Run) -> Operation {
    Operation {
        method: Method::DELETE,
        head: Head::No,
        id,
        summary,
        access: Access::Scope(Scope::DHT_WRITE),
        effect: Effect::Change,
        parameters: &[],
        request: None,
        reply: Reply::nothing("It is stored no more; those that have it keep it for a while."),
        refusals: &[NONE, &[P::ReadTimeout, P::Internal]],
        run,
    }
}

const FORGET_PEER: Operation = forget(
    ("dhtForgetPeer", "Announce a peer of a torrent no more"),
    |api, call| Box::pin(api.dht_forget_peer(call)),
);

const FORGET_ITEM: Operation = forget(("dhtForgetItem", "Store an item no more"), |api, call| {
    Box::pin(api.dht_forget_item(call))
});
