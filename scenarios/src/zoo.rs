//! The bug zoo: documented bugs of other systems, planted one at a time behind a run-time switch that exists only
//! where debug assertions are on. The simulator is measured by how many it finds, and in how many seeds.

use holdfast_record::{Lane, worker::MutantInfo};
use holdfast_replica::Mutant;

/// The switch that plants a bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// In a replica, its log or its Raft.
    Replica(Mutant),
    /// In the tables of services, or in what SQLite stands on.
    Tables(holdfast_tables::Mutant),
    /// In the link checker.
    Links(holdfast_links::Mutant),
    /// In a node of the DHT.
    Kademlia(holdfast_kademlia::Mutant),
    /// In what runs nodes of the DHT.
    Peers(holdfast_peers::Mutant),
    /// In the store of blobs, or in fetching them.
    Blobs(holdfast_blobs::Mutant),
    /// In the node: in how it finds its cluster, and announces its blobs.
    Node(holdfast_node::Mutant),
}

/// One planted bug.
#[derive(Debug)]
pub struct Planted {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its number in the zoo.
    pub id: &'static str,
    /// Where it was seen.
    pub source: &'static str,
    /// What is wrong.
    pub description: &'static str,
    /// The package in which it is planted.
    pub package: &'static str,
    /// The scenario that hunts it.
    pub scenario: &'static str,
    /// The lane in which it is hunted.
    pub lane: Lane,
    /// The switch.
    pub switch: Switch,
}

impl Planted {
    /// As `seeds mutants` prints it.
    pub fn info(&self) -> MutantInfo {
        MutantInfo {
            name: self.name.into(),
            id: self.id.into(),
            source: self.source.into(),
            description: self.description.into(),
            package: self.package.into(),
            scenario: self.scenario.into(),
            lane: self.lane,
        }
    }

    /// The bug, if it is one of a replica.
    pub fn replica(&self) -> Option<Mutant> {
        match self.switch {
            Switch::Replica(mutant) => Some(mutant),
            _ => None,
        }
    }

    /// The bug, if it is one of the tables.
    pub fn tables(&self) -> Option<holdfast_tables::Mutant> {
        match self.switch {
            Switch::Tables(mutant) => Some(mutant),
            _ => None,
        }
    }

    /// The bug, if it is one of a node of the DHT.
    pub fn kademlia(&self) -> Option<holdfast_kademlia::Mutant> {
        match self.switch {
            Switch::Kademlia(mutant) => Some(mutant),
            _ => None,
        }
    }

    /// The bug, if it is one of what runs nodes of the DHT.
    pub fn peers(&self) -> Option<holdfast_peers::Mutant> {
        match self.switch {
            Switch::Peers(mutant) => Some(mutant),
            _ => None,
        }
    }

    /// The bug, if it is one of the store of blobs, or of fetching them.
    pub fn blobs(&self) -> Option<holdfast_blobs::Mutant> {
        match self.switch {
            Switch::Blobs(mutant) => Some(mutant),
            _ => None,
        }
    }

    /// The bug, if it is one of the node itself.
    pub fn node(&self) -> Option<holdfast_node::Mutant> {
        match self.switch {
            Switch::Node(mutant) => Some(mutant),
            _ => None,
        }
    }

    /// The bug, if it is one of the link checker.
    pub fn links(&self) -> Option<holdfast_links::Mutant> {
        match self.switch {
            Switch::Links(mutant) => Some(mutant),
            _ => None,
        }
    }
}

/// The planted bug of that name or number.
pub fn find(name: &str) -> Option<&'static Planted> {
    MUTANTS.iter().find(|m| m.name == name || m.id == name)
}

macro_rules! zoo {
    ($($scenario:literal $lane:ident {
        $($id:literal $name:literal $package:literal $switch:expr, $source:literal, $description:literal;)*
    })*) => {
        &[$($(Planted {
            name: $name,
            id: $id,
            source: $source,
            description: $description,
            package: $package,
            scenario: $scenario,
            lane: Lane::$lane,
            switch: $switch,
        }),*),*]
    };
}

/// Every planted bug.
pub const MUTANTS: &[Planted] = {
    use Switch::{Blobs, Kademlia, Links, Node, Peers, Replica, Tables};
    use holdfast_blobs::Mutant as B;
    use holdfast_kademlia::{CodecMutant as D, Mutant as K, StoreMutant as S};
    use holdfast_links::Mutant as C;
    use holdfast_log::Mutant as L;
    use holdfast_node::Mutant as N;
    use holdfast_peers::Mutant as P;
    use holdfast_raft::Mutant as R;
    use holdfast_tables::Mutant as T;
    zoo! {
        "raft-kv" Fast {
            "R1" "commit-old-term-by-counting" "holdfast-raft" Replica(Mutant::Raft(R::CommitOldTermByCounting)),
                "Raft, section 5.4.2, figure 8",
                "an entry of an older term is committed by counting replicas";
            "R3" "vote-before-sync" "holdfast-raft" Replica(Mutant::Raft(R::VoteBeforeSync)),
                "nodedb#161, raft-java#57",
                "a vote is answered before term and vote are durable";
            "R4" "split-hard-state" "holdfast-log" Replica(Mutant::Log(L::SplitRegisterWrite)),
                "hashicorp/raft#661",
                "term and vote are persisted in two writes";
            "R7" "truncate-without-conflict" "holdfast-raft" Replica(Mutant::Raft(R::TruncateWithoutConflict)),
                "Raft, section 5.3; a classic of reordered appends",
                "a follower truncates its log at an append that conflicts with nothing";
            "R8" "acknowledge-last-index" "holdfast-raft" Replica(Mutant::Raft(R::AcknowledgeLastIndex)),
                "a classic: match index from the follower's log end",
                "a follower acknowledges its own last index instead of what the append covered";
            "R9" "acknowledge-before-sync" "holdfast-raft" Replica(Mutant::Raft(R::AcknowledgeBeforeSync)),
                "etcd-io/etcd#14370",
                "appended entries are acknowledged before they are durable";
            "R11" "read-before-commit-in-term" "holdfast-raft" Replica(Mutant::Raft(R::ReadBeforeCommitInTerm)),
                "etcd-io/etcd#7331, tikv/tikv#6340",
                "a new leader serves reads before it has committed an entry of its term";
            "R13" "lease-without-drift-margin" "holdfast-raft" Replica(Mutant::Raft(R::LeaseWithoutDriftMargin)),
                "Ongaro's dissertation, section 6.4.1",
                "a lease lasts a whole election timeout of the leader's clock, whatever clocks may drift";
            "R17" "applied-index-behind-state" "holdfast-replica" Replica(Mutant::AppliedIndexBehindState),
                "etcd-io/etcd#13766, #14685",
                "the applied index is saved apart from the data: an entry is applied twice after a crash";
            "R18" "sessions-not-in-snapshot" "holdfast-replica" Replica(Mutant::SessionsNotInSnapshot),
                "Ongaro's dissertation, section 6.3",
                "the session table is missing from snapshots: a retried command is applied twice";
            "H1" "proposal-taken-twice" "holdfast-raft" Replica(Mutant::Raft(R::ProposalTakenTwice)),
                "found by this simulator: forwarding assumes that messages are not repeated",
                "a leader takes a forwarded proposal again when the network repeats it";
            "H2" "commit-hint-ahead-of-disk" "holdfast-raft" Replica(Mutant::Raft(R::CommitHintAheadOfDisk)),
                "this project, before its first release",
                "the commit index written with the vote is ahead of the log on disk: a torn tail passes for damage";
            "D1" "torn-tail-is-fatal" "holdfast-log" Replica(Mutant::Log(L::TornTailIsFatal)),
                "rabbitmq/ra#283",
                "a torn record at the log's end keeps the node from starting";
            "D3" "keep-torn-tail" "holdfast-log" Replica(Mutant::Log(L::KeepTornTail)),
                "acoustid-index#157, amelie#17",
                "a torn tail is not cut off: what is appended behind it is lost at the next start";
        }
        "links" Full {
            "T2" "outbox-row-forgotten" "holdfast-tables" Tables(T::RowForgottenAtStart),
                "a classic of message queues: acknowledged when received, not when done",
                "a row of the outbox is deleted when its attempt begins: a crash loses it";
            "T8" "revoked-performed" "holdfast-tables" Tables(T::RevokedPerformed),
                "found by this simulator: what a worker has read it has in mind",
                "rows of the outbox that were taken back are performed all the same";
            "T5" "sqlite-without-sync" "holdfast-sqlite" Tables(T::NoSync),
                "SQLite, How To Corrupt, section 3.1",
                "syncs of the database do nothing";
            "T7" "copy-before-commands" "holdfast-replica" Replica(Mutant::CopyBeforeCommands),
                "a classic of snapshots beside a queue",
                "a snapshot's copy of the tables is taken before the last commands that it covers are in them";
            "L1" "loop-without-cookies" "holdfast-http" Links(C::LoopWithoutCookies),
                "lychee#1430 and its like: consent walls",
                "a redirect back to a URL is a loop, whatever cookies were set on the way";
            "L2" "gap-by-wall-clock" "holdfast-http" Links(C::GapByWallClock),
                "a classic: durations taken from a clock that is set",
                "the gap between two requests to a host is measured by the wall clock";
            "L3" "delay-forgotten" "holdfast-links" Links(C::DelayForgotten),
                "state of a leader that the next one has not",
                "a checker that takes over does not read the crawl delays of hosts again";
            "L4" "robots-shared" "holdfast-links" Links(C::RobotsShared),
                "RFC 9309, section 2.3: rules are an origin's",
                "the robots.txt of one host is believed of all";
            "L5" "fragments-undecoded" "holdfast-links" Links(C::FragmentsUndecoded),
                "HTML, section 7.4.6.4; lychee#1467",
                "fragments are compared as they are written, percent signs and all";
            "L6" "counted-twice" "holdfast-links" Links(C::CountedTwice),
                "a classic: work that was called off and comes back",
                "a cancelled job's rows stay in the outbox, and a verdict is counted each time it comes in";
            "L7" "retry-after-ignored" "holdfast-links" Links(C::RetryAfterIgnored),
                "RFC 9110, section 10.2.3",
                "a server that says when to come again is asked again as soon as any other that failed";
            "L8" "gap-of-the-first-job" "holdfast-links" Links(C::GapOfTheFirst),
                "this project, found by this simulator",
                "an origin keeps the gap of the job that met it first, whatever later jobs ask for";
            "T1" "applied-index-apart" "holdfast-tables" Tables(T::AppliedIndexApart),
                "etcd-io/etcd#13766, #14685: the same in a database on disk",
                "the applied index is written in a transaction of its own, after that of the commands";
            "T6" "lax-names" "holdfast-sqlite" Tables(T::LaxNames),
                "SQLite, How To Corrupt, section 3.2: a journal that comes back, a database that is gone",
                "directories are not synced when SQLite makes and removes files";
        }
        "kademlia" Fast {
            "K1" "shortlist-drops-asked" "holdfast-kademlia" Kademlia(K::ShortlistDropsAsked),
                "a classic of iterative lookups: the list is cut while answers are under way",
                "a lookup's list is cut, and who was asked and has not answered goes with the rest: it never ends";
            "K2" "distance-backwards" "holdfast-kademlia" Kademlia(K::DistanceBackwards),
                "a classic of byte order",
                "distances are compared from the last byte on";
            "K6" "unverified-contacts" "holdfast-kademlia" Kademlia(K::UnverifiedContacts),
                "status-im/nim-eth PR#308 and its like",
                "contacts of other nodes' replies are entered into the table as they are";
            "K7" "bucket-overfull" "holdfast-kademlia" Kademlia(K::BucketOverfull),
                "BEP 5, routing table: a bucket holds k nodes",
                "a bucket may hold more than k contacts";
            "K8" "alive-by-asking" "holdfast-kademlia" Kademlia(K::AliveByAsking),
                "BEP 5, routing table: a good node has responded to a query",
                "a contact is taken for alive because it asks: a forged source is enough";
            "K9" "live-replaced" "holdfast-kademlia" Kademlia(K::LiveReplaced),
                "Maymounkov and Mazieres 2002, section 2.2: least-recently seen eviction, live nodes never removed",
                "a new contact takes the place of one that lives";
            "K10" "reply-from-anywhere" "holdfast-kademlia" Kademlia(K::ReplyFromAnywhere),
                "libtorrent, test_dht: rpc_reply_ignores_wrong_port",
                "a reply is taken in wherever it comes from";
            "K12" "own-bucket-refreshed" "holdfast-kademlia" Kademlia(K::OwnBucketRefreshed),
                "BEP 5, routing table: every bucket is refreshed after 15 minutes",
                "only the bucket of the node's own id is refreshed";
            "K17" "no-second-bootstrap" "holdfast-kademlia" Kademlia(K::NoSecondBootstrap),
                "pubky/mainline 6.0.1: an empty table was not filled again",
                "a table without live contacts asks nobody any more";
            "K21" "id-not-compared" "holdfast-kademlia" Kademlia(K::IdNotCompared),
                "nethermind PR#12211: an endpoint proof binds address and id",
                "the id under which a contact was named is not held against the one that answers";
            "K22" "fixed-timeout" "holdfast-kademlia" Kademlia(K::FixedTimeout),
                "a classic: one timeout for all peers",
                "a lookup waits as long as a datagram may take, whatever its peers took before";
            "K23" "amplified" "holdfast-kademlia" Kademlia(K::Amplified),
                "reflection attacks on UDP services",
                "an answer may be longer than the question, whoever asks";
            "K3" "last-put-wins" "holdfast-kademlia" Kademlia(K::Store(S::LastPutWins)),
                "webtorrent/bittorrent-dht#156, PR#158",
                "the last value that is put is kept, whatever its sequence number";
            "K4" "cas-at-least" "holdfast-kademlia" Kademlia(K::Store(S::CasAtLeast)),
                "BEP 44, CAS: a classic of comparisons",
                "a put is done over any sequence number that is not lower than its cas";
            "K5" "token-of-any-address" "holdfast-kademlia" Kademlia(K::Store(S::TokenOfAnyAddress)),
                "BEP 5, announce_peer: tokens are bound to the IP address",
                "a token is as good from any address as from the one that it was given to";
            "K5b" "old-token-refused" "holdfast-kademlia" Kademlia(K::Store(S::OldTokenRefused)),
                "BEP 5: tokens up to ten minutes old are accepted",
                "tokens are worth nothing as soon as the secret changes";
            "K11" "signature-unchecked" "holdfast-kademlia" Kademlia(K::Store(S::SignatureUnchecked)),
                "pubky/mainline 8.0.0: mutable puts were not checked",
                "the signature of a mutable item is not looked at";
            "K11b" "salt-left-out" "holdfast-kademlia" Kademlia(K::Store(S::SaltLeftOut)),
                "pubky/mainline 8.0.0: the target was not checked against key and salt",
                "all items of a key are stored under the key alone";
            "K11c" "value-reencoded" "holdfast-kademlia" Kademlia(K::Store(S::ValueReencoded)),
                "BEP 44, and every library that decodes values before it stores them",
                "a value is stored as it was understood, not as it was received";
            "K14" "reply-overlong" "holdfast-kademlia" Kademlia(K::ReplyOverlong),
                "pubky/mainline 6.1.0: too many peers in a reply",
                "a reply is as long as it comes, longer than what travels in one piece";
            "K15" "depth-unchecked" "holdfast-kademlia" Kademlia(K::Codec(D::DepthUnchecked)),
                "recursion bombs of bencode, found by every fuzzer",
                "nobody counts how deep lists and dictionaries are in each other";
            "K15b" "leading-zeros" "holdfast-kademlia" Kademlia(K::Codec(D::LeadingZeros)),
                "BEP 3: no leading zeros, no negative zero",
                "integers may begin with zeros, and zero may have a sign";
            "K15c" "length-wraps" "holdfast-kademlia" Kademlia(K::Codec(D::LengthWraps)),
                "a classic of parsers: lengths that overflow",
                "the length of a string is counted in a machine word, and what goes beyond it is lost";
            "K16" "unverified-counted" "holdfast-kademlia" Kademlia(K::UnverifiedCounted),
                "status-im/nim-eth PR#308: limits that rumours use up",
                "who has only asked counts when it is seen how many of a network there are";
            "K19" "port-zero" "holdfast-kademlia" Kademlia(K::Codec(D::PortZero)),
                "BEP 5, announce_peer; seen in many trackers and nodes",
                "a peer may be announced at port 0";
            "K20" "secure-id-of-other-bits" "holdfast-kademlia" Kademlia(K::SecureIdOfOtherBits),
                "BEP 42: the address is masked before the checksum",
                "the checksum of an id is made over other bits of the address than those that count";
            "K3b" "last-item-told" "holdfast-kademlia" Kademlia(K::LastItemTold),
                "webtorrent/bittorrent-dht#156: get returned the last value, not the newest",
                "of the versions of an item that nodes have, the last one to come is taken";
            "K11d" "item-unverified" "holdfast-kademlia" Kademlia(K::ItemUnverified),
                "BEP 44: whoever asks must verify hash, key and signature",
                "what a node says that it has of an item is taken for it";
            "K25" "stored-at-one" "holdfast-kademlia" Kademlia(K::StoredAtOne),
                "libp2p/go-libp2p-kad-dht#139: puts that reached few peers",
                "what is to be stored is stored at the closest node alone";
            "K26" "stored-at-first" "holdfast-kademlia" Kademlia(K::StoredAtFirst),
                "a classic of iterative lookups: who answers first is taken for who is closest",
                "what is to be stored is stored at the first nodes that have answered, however far they are";
            "K27" "refusal-counted" "holdfast-kademlia" Kademlia(K::RefusalCounted),
                "a classic of remote calls: an answer is an answer, also one that says no",
                "a node that refuses to store something is counted among those that have stored it";
            "K24" "implied-port-ignored" "holdfast-kademlia" Kademlia(K::Store(S::ImpliedPortIgnored)),
                "BEP 5, announce_peer: implied_port",
                "a peer behind a router is stored at the port in its message, or at none";
        }
        "kademlia" Full {
            "K13" "clock-of-the-wall" "holdfast-peers" Peers(P::ClockOfTheWall),
                "a classic: durations taken from a clock that is set",
                "timers, timeouts and expiry go by the wall clock";
            "K30" "table-unchecked" "holdfast-kademlia" Kademlia(K::TableUnchecked),
                "a classic of saved state: what can be read is believed",
                "a table that was saved is taken though its checksum does not match";
            "K31" "table-in-place" "holdfast-peers" Peers(P::TableInPlace),
                "Pillai et al., OSDI 2014: atomic replacement by rename",
                "a table is written over the one before: a power cut leaves neither";
            "K32" "id-forgotten" "holdfast-peers" Peers(P::IdForgotten),
                "BEP 5: the id and the table are kept between invocations of the client",
                "a node that starts again takes a new id";
            "K33" "never-renewed" "holdfast-peers" Peers(P::NeverRenewed),
                "BEP 44, section Expiration",
                "what is kept in the DHT is stored once and never again";
        }
        "discovery" Full {
            "B1" "blob-acknowledged-unsynced" "holdfast-blobs" Blobs(B::AcknowledgedUnsynced),
                "Pillai et al., OSDI 2014: a rename that is on the disk before the bytes are",
                "a blob is given its name, and acknowledged, before its bytes are synced";
            "B2" "blob-hash-unchecked" "holdfast-blobs" Blobs(B::HashUnchecked),
                "BEP 3 and its like: what strangers give is checked piece by piece",
                "what a provider gives is taken for the blob without a look at its hash";
            "B3" "blob-drafts-left" "holdfast-blobs" Blobs(B::DraftsLeft),
                "a classic: temporary files that outlive who wrote them",
                "what was being stored when the process ended stays on the disk";
            "B4" "blob-drafts-uncounted" "holdfast-blobs" Blobs(B::DraftsUncounted),
                "a classic of quotas: checked when it is begun, taken when it is over",
                "what is being stored, and what was given up, does not count when it is seen whether there is room";
            "B5" "blob-announced-once" "holdfast-node" Node(N::AnnouncedOnce),
                "ipfs/kubo: provider records that were not provided again",
                "a blob is announced when it is stored or found at a start, and never again";
            "B6" "stored-blobs-not-announced" "holdfast-node" Node(N::StoredNotAnnounced),
                "a classic: what is kept in memory is gone with it",
                "what a node has when it starts it does not announce";
            "B7" "damaged-blob-announced" "holdfast-node" Node(N::DamagedStaysAnnounced),
                "this project, found by this scenario while it was written",
                "a blob that was found damaged, and removed, is announced all the same";
            "M1" "list-number-not-raised" "holdfast-node" Node(N::SequenceNotRaised),
                "BEP 44: the sequence number of a mutable item must rise",
                "a list of members that has changed has the number of the one before";
            "M2" "older-list-taken" "holdfast-node" Node(N::OlderListTaken),
                "The Update Framework: rollback attacks",
                "a list that is older than one that was seen is taken all the same";
            "M3" "unsigned-list-believed" "holdfast-node" Node(N::UnsignedBelieved),
                "BEP 44: whoever asks must verify key and signature",
                "a list of members is believed whoever has signed it";
            "M4" "hints-forgotten" "holdfast-node" Node(N::HintsForgotten),
                "a classic: what was found is told to nobody who needs it",
                "where the list says that members are nobody tries to reach them";
        }
    }
};
