//! The items that others have put at a node (BEP 44).

use crate::bencode::Raw;
use crate::expiry::{SECOND, sweep_time};
use crate::item::{self, ItemError, MutableItem};
use crate::krpc::{ErrorCode, Item, KEY_LEN, Put, SIGNATURE_LEN};
use crate::source::{Shares, Source};
use crate::{Id, Nanos, StoreMutant};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What an [`ItemStore`] has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemLimits {
    /// Items. Each has at most [`item::VALUE_LIMIT_BYTES`] bytes, and some 250 of overhead.
    pub items: usize,
    /// How long an item is stored after it was put, in nanoseconds (BEP 44, "Expiration").
    pub lifetime: Nanos,
}

impl Default for ItemLimits {
    /// 1000 items, in 1.3 MB of memory at most; two hours.
    fn default() -> ItemLimits {
        ItemLimits {
            items: 1_000,
            lifetime: 7_200 * SECOND,
        }
    }
}

/// The items of a node.
///
/// When there is no room for a new one: of whoever put most of the items first, that one goes which is farthest from
/// the node's own id. The new one is refused if it is that one itself.
#[derive(Clone, Debug)]
pub struct ItemStore {
    items: BTreeMap<Id, Stored>,
    /// Who put an item first.
    shares: Shares,
    /// No item has to be dropped before.
    sweep_at: Nanos,
}

#[derive(Clone, Debug)]
struct Stored {
    source: Source,
    expires: Nanos,
    /// As it was received: bencode.
    value: Box<[u8]>,
    signed: Option<Box<Signed>>,
}

/// What a mutable item has besides. Its salt is nobody's business: who looks for it knows it.
#[derive(Clone, Debug)]
struct Signed {
    key: [u8; KEY_LEN],
    sequence: i64,
    signature: [u8; SIGNATURE_LEN],
}

/// What a put would do.
enum Effect {
    /// The value is there already, and is kept for longer.
    Refresh,
    /// It takes the place of an older one.
    Replace,
    /// It is new, and this one goes for it.
    Insert(Option<Id>),
}

impl Default for ItemStore {
    fn default() -> ItemStore {
        ItemStore {
            items: BTreeMap::new(),
            shares: Shares::default(),
            sweep_at: Nanos::MAX,
        }
    }
}

impl ItemStore {
    /// Stores an item that `from` puts, at a node with the id `own`, once its token was found right. Says what it is
    /// stored under.
    ///
    /// It is refused, and what is stored stays as it is, with
    ///
    /// - [`ErrorCode::ValueTooBig`] and [`ErrorCode::SaltTooBig`] over the limits of [`item`];
    /// - [`ErrorCode::CasMismatch`] if there is an item of another sequence number than `cas`;
    /// - [`ErrorCode::SequenceTooLow`] if there is an item of a higher sequence number, or of the same and with another
    ///   value;
    /// - [`ErrorCode::InvalidSignature`];
    /// - [`ErrorCode::Protocol`] if the value is not canonical, the sequence number is below zero, or something else
    ///   is stored there, which takes a collision of SHA-1;
    /// - [`ErrorCode::Server`] if there is no room.
    ///
    /// The signature is looked at last, since it costs more than all else; and not at all if the very item is stored
    /// already, which is what a publisher sends every hour.
    pub fn put(
        &mut self,
        now: Nanos,
        own: Id,
        put: &Put<'_>,
        from: IpAddr,
        limits: &ItemLimits,
        planted: Option<StoreMutant>,
    ) -> Result<Id, ErrorCode> {
        check_form(put).map_err(code)?;
        let source = Source::of(from);
        let target = target(put, planted);
        // What has expired is as good as gone.
        self.expire_at(now, target);
        let effect = match self.items.get(&target) {
            Some(stored) => stored.effect(put, planted)?,
            None => Effect::Insert(self.room(now, own, source, target, limits)?),
        };
        if let Some(mutable) = put.mutable
            && !self.has_signature(target, put)
            && !StoreMutant::SignatureUnchecked.is_in(planted)
        {
            let item = MutableItem::of_put(mutable, put.value);
            item.verify().map_err(code)?;
        }
        let expires = now.saturating_add(limits.lifetime);
        match effect {
            Effect::Refresh => {
                if let Some(stored) = self.items.get_mut(&target) {
                    stored.expires = expires;
                }
            }
            Effect::Replace => {
                if let Some(stored) = self.items.get_mut(&target) {
                    *stored = Stored::new(put, stored.source, expires, planted);
                }
            }
            Effect::Insert(victim) => {
                if let Some(victim) = victim {
                    self.remove(victim);
                }
                self.shares.add(source, target);
                let stored = Stored::new(put, source, expires, planted);
                self.items.insert(target, stored);
            }
        }
        self.sweep_at = self.sweep_at.min(sweep_time(expires));
        Ok(target)
    }

    /// The item that is stored under `target`. Of a mutable one that is not newer than `sequence`, its sequence number
    /// alone (BEP 44, "get message").
    pub fn get(&self, now: Nanos, target: Id, sequence: Option<i64>) -> Option<Item<'_>> {
        let stored = self.items.get(&target)?;
        if stored.expires <= now {
            return None;
        }
        let signed = stored.signed.as_deref();
        let known = signed.filter(|signed| sequence.is_some_and(|known| signed.sequence <= known));
        if let Some(known) = known {
            return Some(Item {
                sequence: Some(known.sequence),
                ..Item::default()
            });
        }
        Some(Item {
            // It was read before.
            value: Some(Raw::parse(&stored.value).ok()?),
            key: signed.map(|signed| &signed.key),
            sequence: signed.map(|signed| signed.sequence),
            signature: signed.map(|signed| &signed.signature),
        })
    }

    /// Drops the items that have expired, if it is time for it. Cheap if it is not.
    pub fn expire(&mut self, now: Nanos) {
        if now < self.sweep_at {
            return;
        }
        let mut earliest = Nanos::MAX;
        self.items.retain(|target, stored| {
            let is_live = now < stored.expires;
            match is_live {
                true => earliest = earliest.min(stored.expires),
                false => self.shares.remove(stored.source, *target),
            }
            is_live
        });
        self.sweep_at = sweep_time(earliest);
    }

    /// When [`ItemStore::expire`] has something to do next; `None` if there are no items.
    pub fn next_expiry(&self) -> Option<Nanos> {
        (self.sweep_at != Nanos::MAX).then_some(self.sweep_at)
    }

    /// How many items are stored. Some may have expired.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether no item is stored.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes on the heap, what the tree adds left out. It looks at every item.
    pub fn heap_bytes(&self) -> usize {
        let items = self.items.values().map(|stored| {
            let signed = stored.signed.as_ref().map_or(0, |_| size_of::<Signed>());
            size_of::<(Id, Stored)>() + stored.value.len() + signed
        });
        items.sum::<usize>() + self.shares.heap_bytes()
    }

    /// Bytes of all values.
    pub fn value_bytes(&self) -> usize {
        self.items.values().map(|stored| stored.value.len()).sum()
    }

    /// What has to go for a new item, if anything has to.
    fn room(
        &mut self,
        now: Nanos,
        own: Id,
        source: Source,
        target: Id,
        limits: &ItemLimits,
    ) -> Result<Option<Id>, ErrorCode> {
        if self.items.len() >= limits.items {
            self.expire(now);
        }
        if self.items.len() < limits.items {
            return Ok(None);
        }
        let victim = self.shares.victim(own, source, target);
        victim.map(Some).ok_or(ErrorCode::Server)
    }

    fn expire_at(&mut self, now: Nanos, target: Id) {
        if self
            .items
            .get(&target)
            .is_some_and(|stored| stored.expires <= now)
        {
            self.remove(target);
        }
    }

    fn remove(&mut self, target: Id) {
        if let Some(stored) = self.items.remove(&target) {
            self.shares.remove(stored.source, target);
        }
    }

    /// Whether the very signature of `put` is stored, for the same key, sequence number and value. It was found right
    /// then, so it is right now.
    fn has_signature(&self, target: Id, put: &Put<'_>) -> bool {
        let stored = self.items.get(&target);
        let signed = stored.and_then(|stored| Some((&stored.value, stored.signed.as_ref()?)));
        signed
            .zip(put.mutable)
            .is_some_and(|((value, signed), put_signed)| {
                signed.key == *put_signed.key
                    && signed.sequence == put_signed.sequence
                    && signed.signature == *put_signed.signature
                    && **value == *put.value.bytes()
            })
    }
}

impl Stored {
    fn new(put: &Put<'_>, source: Source, expires: Nanos, planted: Option<StoreMutant>) -> Stored {
        let signed = put.mutable.map(|mutable| Signed {
            key: *mutable.key,
            sequence: mutable.sequence,
            signature: *mutable.signature,
        });
        Stored {
            source,
            expires,
            value: match StoreMutant::ValueReencoded.is_in(planted) {
                true => reencoded(put.value).into(),
                false => put.value.bytes().into(),
            },
            signed: signed.map(Box::new),
        }
    }

    /// What a put does to an item that is there (BEP 44, "put message" and "CAS").
    fn effect(&self, put: &Put<'_>, planted: Option<StoreMutant>) -> Result<Effect, ErrorCode> {
        let is_same_value = *self.value == *put.value.bytes();
        let (signed, put) = match (&self.signed, put.mutable) {
            (None, None) if is_same_value => return Ok(Effect::Refresh),
            (Some(signed), Some(put)) if signed.key == *put.key => (signed, put),
            _ => return Err(ErrorCode::Protocol),
        };
        let is_expected = |cas| match StoreMutant::CasAtLeast.is_in(planted) {
            true => signed.sequence >= cas,
            false => signed.sequence == cas,
        };
        // First what must be answered with this very error: who swaps has to learn that he read something old.
        if !put.cas.is_none_or(is_expected) {
            return Err(ErrorCode::CasMismatch);
        }
        match put.sequence.cmp(&signed.sequence) {
            _ if StoreMutant::LastPutWins.is_in(planted) => Ok(Effect::Replace),
            std::cmp::Ordering::Greater => Ok(Effect::Replace),
            std::cmp::Ordering::Equal if is_same_value => Ok(Effect::Refresh),
            // Two values of one number: whichever was first stays, or it would depend on who asks whom last.
            _ => Err(ErrorCode::SequenceTooLow),
        }
    }
}

/// What can be said of a put without a look at what is stored, short of its signature. Whoever read it from a datagram
/// has said so already.
fn check_form(put: &Put<'_>) -> Result<(), ItemError> {
    item::check_value(put.value)?;
    let Some(mutable) = put.mutable else {
        return Ok(());
    };
    item::check_salt(mutable.salt)?;
    match mutable.sequence < 0 {
        true => Err(ItemError::NegativeSequence),
        false => Ok(()),
    }
}

/// What a put is refused with.
fn code(error: ItemError) -> ErrorCode {
    match error {
        ItemError::ValueTooLong(_) => ErrorCode::ValueTooBig,
        ItemError::SaltTooLong(_) => ErrorCode::SaltTooBig,
        ItemError::UnusableKey | ItemError::WrongSignature => ErrorCode::InvalidSignature,
        ItemError::NotCanonical
        | ItemError::NegativeSequence
        | ItemError::WrongTarget
        | ItemError::Missing(_) => ErrorCode::Protocol,
    }
}

fn target(put: &Put<'_>, planted: Option<StoreMutant>) -> Id {
    match put.mutable {
        None => item::immutable_target(put.value),
        Some(mutable) if StoreMutant::SaltLeftOut.is_in(planted) => {
            item::mutable_target(mutable.key, b"")
        }
        Some(mutable) => item::mutable_target(mutable.key, mutable.salt),
    }
}

/// A value through the eyes of a program whose integers have 64 bits: the mutant [`StoreMutant::ValueReencoded`].
fn reencoded(value: Raw<'_>) -> Vec<u8> {
    let mut decoder = value.decoder();
    match decoder.value() {
        Ok(crate::bencode::Value::Integer(integer)) => {
            let mut out = Vec::new();
            crate::bencode::write_integer(&mut out, integer.to_i64().unwrap_or(i64::MAX));
            out
        }
        _ => value.bytes().to_vec(),
    }
}
