use super::{Api, Call, Problem, consistency, convert, json_reply, keys::unexpected, session};
use crate::{
    http::{
        Query, ReplyBody,
        page::{PageRequest, Position, invalid_cursor, next_link},
    },
    wire::{CompactReply, CompactRequest, DeleteReply},
};
use bytes::Bytes;
use holdfast_kv::{Delete, KeyRange, KvCommand, KvOutcome, MAX_COUNTED, RangeLimits};
use http::{Response, header};
use serde::{Deserialize, Serialize};

/// Where a page of a range begins.
#[derive(Debug, Serialize, Deserialize)]
struct RangePosition {
    /// The revision of all pages.
    revision: u64,
    /// The last key of the page before.
    after: Bytes,
}

impl Position for RangePosition {
    const LIST: u8 = 1;
}

impl RangePosition {
    /// What is left of `keys`, and at which revision. A query that names others than the page before is another list.
    fn rest_of(
        self,
        keys: &KeyRange,
        asked: Option<u64>,
    ) -> Result<(KeyRange, Option<u64>), Problem> {
        let is_within =
            *keys.start() <= self.after && keys.end().is_none_or(|end| self.after < *end);
        if !is_within || asked.is_some_and(|asked| asked != self.revision) {
            return Err(invalid_cursor());
        }
        // The least key that is greater.
        let start = Bytes::from([&self.after[..], b"\0"].concat());
        let rest = match keys.end() {
            Some(end) => KeyRange::between(start, end.clone()),
            None => KeyRange::from(start),
        };
        Ok((rest, Some(self.revision)))
    }
}

impl Api {
    /// The keys that a query names.
    fn keys(&self, query: &mut Query) -> Result<KeyRange, Problem> {
        let keys = convert::key_range(convert::key_set(query))?;
        self.check_range(&keys)?;
        Ok(keys)
    }

    /// Reads many keys.
    pub(super) async fn read_range(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let mut query = Query::parse(call.head.uri.query())?;
        let keys = self.keys(&mut query)?;
        let consistency = consistency(&mut query)?;
        let revision = query.number("revision")?;
        let page = PageRequest::<RangePosition>::take(&mut query, self.limits.range_keys)?;
        let keys_only = query.switch("keys_only")?;
        let count_only = query.switch("count_only")?;
        query.finish()?;
        let limits = RangeLimits {
            keys: if count_only { 0 } else { page.limit },
            bytes: self.limits.range_bytes as usize,
        };
        let (keys, revision) = match page.from {
            None => (keys, revision),
            Some(from) => from.rest_of(&keys, revision)?,
        };
        let store = self.read(consistency).await?;
        let now = store.revision();
        // It may have to look at every key of the store, of which there may be many: not where others wait.
        let found = self
            .host
            .blocking(move |_| store.range(&keys, revision, limits))
            .await
            .map_err(convert::refusal)?;
        let mut reply = convert::range(found, now);
        if count_only {
            // No pairs were asked for; what can have been cut short is the counting.
            reply.more = reply.count >= MAX_COUNTED;
        }
        if keys_only {
            for pair in &mut reply.kvs {
                pair.value = None;
            }
        }
        // A page may end before its first pair, when that is larger than all of them may be.
        if let Some(last) = reply.kvs.last().filter(|_| reply.more) {
            let position = RangePosition {
                revision: revision.unwrap_or(now),
                after: last.key.0.clone(),
            };
            reply.next = Some(position.to_cursor());
        }
        let mut response = json_reply(&reply);
        if let Some(next) = &reply.next {
            let link = next_link(&call.head.uri, next);
            response.headers_mut().insert(header::LINK, link);
        }
        Ok(response)
    }

    /// Deletes many keys.
    pub(super) async fn delete_range(
        &self,
        call: Call<'_>,
    ) -> Result<Response<ReplyBody>, Problem> {
        let mut query = Query::parse(call.head.uri.query())?;
        let keys = self.keys(&mut query)?;
        let return_previous = query.switch("prev_kv")?;
        query.finish()?;
        let session = session(&call.head.headers)?;
        let command = KvCommand::Delete(Delete {
            keys,
            return_previous,
        });
        match self.carry_out(session, &command).await? {
            KvOutcome::Delete {
                revision,
                deleted,
                previous,
            } => Ok(json_reply(&DeleteReply {
                revision,
                deleted,
                prev_kvs: convert::pairs(previous),
            })),
            other => Err(unexpected(&other)),
        }
    }

    /// Forgets what was before a revision.
    pub(super) async fn compact(&self, mut call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        Query::parse(call.head.uri.query())?.finish()?;
        let session = session(&call.head.headers)?;
        let CompactRequest { revision } = self.json(&mut call).await?;
        match self
            .carry_out(session, &KvCommand::Compact { revision })
            .await?
        {
            KvOutcome::Compact {
                revision,
                compact_revision,
            } => Ok(json_reply(&CompactReply {
                revision,
                compact_revision,
            })),
            other => Err(unexpected(&other)),
        }
    }

    /// How many pairs an answer may have when `limit` are asked for; 0 asks for as many as are allowed.
    pub(super) fn most_keys(&self, limit: u64) -> usize {
        let most = self.limits.range_keys;
        match limit {
            0 => most,
            limit => usize::try_from(limit).map_or(most, |limit| limit.min(most)),
        }
    }

    /// A range's ends may be one byte longer than a key: the successor of the longest.
    pub(super) fn check_range(&self, keys: &KeyRange) -> Result<(), Problem> {
        let longest = keys.start().len().max(keys.end().map_or(0, Bytes::len));
        super::check_size("a key of the range", longest, self.limits.key_bytes + 1)
    }
}
