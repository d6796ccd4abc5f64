//! Strangers: those who say that they have blobs and give something else, who store old lists of members again, and who
//! answer for the cluster's item what its key has never signed.

use super::{
    choose::{CLIENT_PORT, dht_address},
    stage::Stage,
};
use holdfast_host::{Host, Stream};
use holdfast_kademlia::{
    Id, Message, PutRequest, Request, SignedPut,
    bencode::Raw,
    item::SecretKey,
    krpc::{Body, Call, Contacts, Query, Reply},
};
use holdfast_node::{
    discovery::{Addresses, Roster},
    race::{First, first},
};
use holdfast_peers::{Dht, NewItem};
use holdfast_sim::{
    draw::{Domain, Draws},
    full::World,
};
use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    num::NonZeroU16,
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How often a stranger looks whether there is something to lie about.
const PAUSE: Duration = Duration::from_secs(20);
/// How often somebody asks who wants to be known.
const KNOCK: Duration = Duration::from_secs(15);
/// Longest request that is read.
const MAX_REQUEST: usize = 8 << 10;
/// How long a stranger says nothing who hangs.
const HANGS: Duration = Duration::from_secs(40);
/// Ways to lie, most of them the first one.
const MANNERS: u64 = 10;
/// Entities of [`Domain::Workload`].
const STRANGER: u64 = 1 << 54;
const FORGER: u64 = 1 << 55;

/// Says that it has every blob, and lies about each; the first one stores old lists again, in some seeds.
pub(super) async fn lie(stage: Stage, host: Host, number: u32, machine: u32) {
    let seed = stage.world.plan().seed;
    let entity = STRANGER + (u64::from(number) << 40);
    let address = SocketAddr::new(World::ip(machine), CLIENT_PORT);
    let Ok(mut listener) = host.network.listen(address).await else {
        return;
    };
    let Ok(dht) = Dht::start(&host, stage.chosen.dht(machine, false)).await else {
        return;
    };
    let (keeper, blobs) = (dht.clone(), stage.blobs.clone());
    drop(host.spawn("claim", async move {
        for blob in blobs.iter() {
            let request = Request::Announce {
                info_hash: blob.id.key(),
                port: NonZeroU16::new(CLIENT_PORT),
                is_seed: true,
            };
            // What nobody took is told again by itself.
            let _ = keeper.keep(0, request).await;
        }
    }));
    let mut asked = 0;
    let replays = stage.chosen.replays && number == 0;
    loop {
        match first(listener.accept(), host.sleep(PAUSE)).await {
            First::One(Ok((stream, _))) => {
                asked += 1;
                let mut draws = Draws::new(seed, Domain::Workload, entity + asked);
                let teller = Teller {
                    stage: stage.clone(),
                    host: host.clone(),
                    manner: draws.chance(0.5).then(|| draws.range(0, MANNERS)),
                    draws,
                };
                drop(host.spawn("lie", teller.answer(stream)));
            }
            First::One(Err(_)) => return,
            First::Other(()) => {}
        }
        if !replays {
            continue;
        }
        let request = Request::Get {
            target: stage.item.target(),
            salt: stage.item.salt.as_bytes().to_vec(),
            is_mutable: true,
        };
        if let Ok(outcome) = dht.run(0, request).await
            && let Some(found) = outcome.item
        {
            // Also what a stranger finds is right.
            let _ = stage.check_found(machine, &found);
        }
        if let Some(old) = stage.old_list() {
            let Some((sequence, signature)) = old.version else {
                continue;
            };
            let put = NewItem::of(PutRequest {
                value: old.value,
                mutable: Some(SignedPut {
                    key: stage.item.key.0,
                    salt: stage.item.salt.as_bytes().to_vec(),
                    sequence,
                    signature,
                    cas: None,
                }),
            });
            if let Ok(outcome) = dht.put(0, put).await
                && outcome.stored() > 0
            {
                stage.world.mark("old-list-stored-again");
            }
        }
    }
}

/// Somebody who answers one connection.
struct Teller {
    stage: Stage,
    host: Host,
    draws: Draws,
    /// The same lie to every request; `None`: another each time.
    manner: Option<u64>,
}

impl Teller {
    async fn answer(mut self, mut stream: Stream) {
        // Whoever asks has gone when this fails.
        let _ = self.converse(&mut stream).await;
    }

    async fn converse(&mut self, stream: &mut Stream) -> std::io::Result<()> {
        loop {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0; 512];
                let read = stream.read(&mut byte).await?;
                if read == 0 || request.len() > MAX_REQUEST {
                    return Ok(());
                }
                request.extend_from_slice(&byte[..read]);
            }
            let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
            let Some((id, first, last)) = asked_for(&text) else {
                return Ok(());
            };
            let blob = id.parse().ok().and_then(|id| self.stage.blob_of(id));
            let Some(blob) = blob else {
                return Ok(());
            };
            self.stage.world.mark("stranger-asked");
            let content = self.stage.blobs[blob].content.clone();
            let all = content.len() as u64;
            if all == 0 || first >= all {
                let head = "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n";
                stream.write_all(head.as_bytes()).await?;
                continue;
            }
            let last = last.min(all - 1);
            let mut piece = content[first as usize..=last as usize].to_vec();
            let (mut told, mut status) = (all, "206 Partial Content");
            let other = self.draws.range(0, MANNERS);
            match self.manner.unwrap_or(other) {
                // One bit is another.
                0..5 => {
                    let at = self.draws.range(0, piece.len() as u64) as usize;
                    piece[at] ^= 1 << self.draws.range(0, 8);
                }
                // There is more, or less, than there is.
                5 => told = all + 1,
                6 => told = u64::MAX / 2,
                7 => status = "200 OK",
                8 => {
                    self.host.sleep(HANGS).await;
                    return Ok(());
                }
                // Nothing after the first piece.
                _ if first > 0 => return Ok(()),
                _ => {}
            }
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{last}/{told}\r\n\r\n",
                piece.len()
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&piece).await?;
        }
    }
}

/// Which blob, and which part of it, a request asks for.
fn asked_for(request: &str) -> Option<(&str, u64, u64)> {
    let id = request.strip_prefix("get /v1/blobs/")?.split(' ').next()?;
    let range = request.split("range: bytes=").nth(1)?;
    let (first, last) = range.split("\r\n").next()?.split_once('-')?;
    Some((id, first.parse().ok()?, last.parse().ok()?))
}

/// Sits beside the cluster's item in the DHT, and gives lists that its key has not signed.
pub(super) async fn forge(stage: Stage, host: Host, machine: u32) {
    let mut draws = Draws::new(stage.world.plan().seed, Domain::Workload, FORGER);
    let Ok(socket) = host.network.bind(dht_address(machine).into()).await else {
        return;
    };
    let target = stage.item.target();
    // Closer than any that is drawn.
    let id = target.with_flipped(8 * Id::LEN as u32 - 1);
    let forged = Forged::new(&stage, machine);
    let mut buffer = vec![0; 4 << 10];
    let mut bytes = Vec::new();
    let mut knock = host.now();
    loop {
        if host.now() >= knock {
            knock = host.now().saturating_add(KNOCK);
            for node in 0..stage.world.plan().nodes {
                bytes.clear();
                let call = Call::FindNode {
                    target: id,
                    want: None,
                };
                let query = Query::new(id, call);
                Message::query(b"kn", query).encode_padded(320, &mut bytes);
                // What is lost is asked again.
                let _ = socket.try_send_to(&bytes, dht_address(node).into());
            }
        }
        let until = host.clock.sleep_until(knock);
        let (length, from) = match first(socket.receive(&mut buffer), until).await {
            First::One(Ok(received)) => received,
            First::One(Err(_)) => return,
            First::Other(()) => continue,
        };
        let Ok(message) = Message::decode(&buffer[..length]) else {
            continue;
        };
        let Body::Query(query) = message.body else {
            continue;
        };
        let mut reply = Reply::new(id);
        let nobody: [holdfast_kademlia::krpc::Contact<SocketAddrV4>; 0] = [];
        let number = i64::MAX / 2 + draws.range(0, 1_000) as i64;
        let own;
        match query.call {
            Call::FindNode { .. } => reply.nodes = Some(Contacts::from(&nobody[..])),
            Call::GetPeers { .. } => {
                reply.nodes = Some(Contacts::from(&nobody[..]));
                reply.token = Some(b"forged");
            }
            Call::Get { target: asked, .. } => {
                reply.nodes = Some(Contacts::from(&nobody[..]));
                reply.token = Some(b"forged");
                if asked == target {
                    stage.world.mark("forged-list-told");
                    own = forged.signature(number);
                    reply.item.value = Raw::parse(&forged.value).ok();
                    reply.item.sequence = Some(number);
                    reply.item.signature = Some(&own);
                    // Under the cluster's key, or under the one that has signed it.
                    reply.item.key = Some(match draws.chance(0.5) {
                        true => &stage.item.key.0,
                        false => forged.secret.public(),
                    });
                }
            }
            _ => {}
        }
        bytes.clear();
        Message::reply(message.transaction, reply).encode(&mut bytes);
        let _ = socket.try_send_to(&bytes, from);
    }
}

/// A list that leads everybody to a stranger.
struct Forged {
    secret: SecretKey,
    salt: Vec<u8>,
    value: Vec<u8>,
}

impl Forged {
    fn new(stage: &Stage, machine: u32) -> Forged {
        let ip = match World::ip(machine) {
            std::net::IpAddr::V4(ip) => ip,
            std::net::IpAddr::V6(_) => Ipv4Addr::LOCALHOST,
        };
        let members = 1..=u64::from(stage.chosen.count());
        let members = members.map(|member| {
            let addresses = Addresses {
                peer: Some(format!("{ip}:{}", 7_000 + member)),
                client: None,
            };
            (member, addresses)
        });
        let roster = Roster::new(members.collect()).expect("a list");
        Forged {
            secret: SecretKey::from_seed(&[0x0f; 32]),
            salt: stage.item.salt.as_bytes().to_vec(),
            value: roster.encode().expect("it fits"),
        }
    }

    fn signature(&self, sequence: i64) -> [u8; 64] {
        let value = Raw::parse(&self.value).expect("it was encoded");
        let signed = self.secret.sign(&self.salt, sequence, value);
        signed.expect("a good item")
    }
}
