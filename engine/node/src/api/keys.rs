use super::{Api, Call, Problem, ProblemKind, consistency, convert, json_reply, session};
use crate::{
    http::{Query, ReplyBody},
    wire::{DeleteReply, GetReply, PutReply},
};
use bytes::Bytes;
use holdfast_kv::{
    Compare, CompareWith, Comparison, Delete, KeyRange, KvCommand, KvOutcome, Put, Step,
    StepOutcome, Txn,
};
use holdfast_replica::Session;
use http::{HeaderMap, HeaderValue, Response, header, request::Parts};

impl Api {
    /// Reads a key.
    pub(super) async fn get(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let (key, head) = (self.key(&call)?, call.head);
        let mut query = Query::parse(head.uri.query())?;
        let consistency = consistency(&mut query)?;
        let revision = query.number("revision")?;
        query.finish()?;
        let store = self.read(consistency).await?;
        let found = match revision {
            None => store.get(&key),
            Some(revision) => store.get_at(&key, revision).map_err(convert::refusal)?,
        };
        let revision = store.revision();
        let Some(pair) = found else {
            return Err(
                Problem::new(ProblemKind::KeyNotFound, "there is no such key")
                    .with("revision", revision),
            );
        };
        let tag = entity_tag(pair.mod_revision);
        let mut response = json_reply(&GetReply {
            pair: convert::pair(pair),
            revision,
        });
        response.headers_mut().insert(header::ETAG, tag);
        Ok(response)
    }

    /// Puts a key.
    pub(super) async fn put(&self, mut call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let (key, head) = (self.key(&call)?, call.head);
        let (return_previous, session) = command_options(head)?;
        let compare = condition(&head.headers, &key)?;
        let value = self.body(&mut call).await?;
        let put = Put {
            key,
            value,
            return_previous,
        };
        let (revision, previous) = match compare {
            None => match self.carry_out(session, &KvCommand::Put(put)).await? {
                KvOutcome::Put { revision, previous } => (revision, previous),
                other => return Err(unexpected(&other)),
            },
            Some(compare) => match self.when(session, compare, Step::Put(put)).await? {
                (revision, StepOutcome::Put { previous }) => (revision, previous),
                (_, other) => return Err(unexpected(&other)),
            },
        };
        let mut response = json_reply(&PutReply {
            revision,
            prev_kv: previous.map(convert::pair),
        });
        let tag = entity_tag(revision);
        response.headers_mut().insert(header::ETAG, tag);
        Ok(response)
    }

    /// Deletes a key.
    pub(super) async fn delete(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let (key, head) = (self.key(&call)?, call.head);
        let (return_previous, session) = command_options(head)?;
        let compare = condition(&head.headers, &key)?;
        let delete = Delete {
            keys: KeyRange::key(key),
            return_previous,
        };
        let (revision, deleted, previous) = match compare {
            None => match self.carry_out(session, &KvCommand::Delete(delete)).await? {
                KvOutcome::Delete {
                    revision,
                    deleted,
                    previous,
                } => (revision, deleted, previous),
                other => return Err(unexpected(&other)),
            },
            Some(compare) => match self.when(session, compare, Step::Delete(delete)).await? {
                (revision, StepOutcome::Delete { deleted, previous }) => {
                    (revision, deleted, previous)
                }
                (_, other) => return Err(unexpected(&other)),
            },
        };
        Ok(json_reply(&DeleteReply {
            revision,
            deleted,
            prev_kvs: convert::pairs(previous),
        }))
    }

    /// The key that a path names.
    fn key(&self, call: &Call<'_>) -> Result<Bytes, Problem> {
        let key = call.path.get("key");
        self.check_key(&key)?;
        Ok(key)
    }

    /// Does `step` when `compare` holds: the store's revision then, and what came of it.
    async fn when(
        &self,
        session: Option<Session>,
        compare: Compare,
        step: Step,
    ) -> Result<(u64, StepOutcome), Problem> {
        let command = KvCommand::Txn(Txn {
            compare: vec![compare],
            success: vec![step],
            failure: Vec::new(),
        });
        let (revision, succeeded, mut steps) = match self.carry_out(session, &command).await? {
            KvOutcome::Txn {
                revision,
                succeeded,
                steps,
            } => (revision, succeeded, steps),
            other => return Err(unexpected(&other)),
        };
        if !succeeded {
            return Err(Problem::new(
                ProblemKind::PreconditionFailed,
                "the key is not as If-Match or If-None-Match says; nothing was changed",
            )
            .with("revision", revision));
        }
        let step = steps.pop().expect("one outcome for one step");
        Ok((revision, step))
    }

    /// Replicates a command; its outcome, unless the store refused it.
    pub(super) async fn carry_out(
        &self,
        session: Option<Session>,
        command: &KvCommand,
    ) -> Result<KvOutcome, Problem> {
        command.check().map_err(convert::refusal)?;
        let bytes = command.encode();
        super::check_size("the command", bytes.len(), self.limits.command_bytes)?;
        let bytes = self.propose(session, bytes).await?;
        match KvOutcome::decode(&bytes) {
            Some(KvOutcome::Refused { error, .. }) => Err(convert::refusal(error)),
            Some(outcome) => Ok(outcome),
            None => Err(unexpected(&"bytes that do not decode")),
        }
    }
}

/// What every command's request may say beside the command: `prev_kv`, and a session's ticket.
pub(super) fn command_options(head: &Parts) -> Result<(bool, Option<Session>), Problem> {
    let mut query = Query::parse(head.uri.query())?;
    let return_previous = query.switch("prev_kv")?;
    query.finish()?;
    Ok((return_previous, session(&head.headers)?))
}

/// The outcome of another command than the one that was given: the session's ticket was used for two.
pub(super) fn unexpected(outcome: &dyn std::fmt::Debug) -> Problem {
    tracing::debug!(?outcome, "the outcome of another command");
    Problem::new(
        ProblemKind::SequenceReused,
        "the session carried out another command with this sequence",
    )
}

/// A key's entity tag: the revision of its last change.
fn entity_tag(revision: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{revision}\"")).expect("digits and quotes are ASCII")
}

/// The condition that `If-Match` and `If-None-Match` put on a key.
fn condition(headers: &HeaderMap, key: &Bytes) -> Result<Option<Compare>, Problem> {
    let compare = |comparison, revision| {
        Ok(Some(Compare {
            key: key.clone(),
            comparison,
            with: CompareWith::ModRevision(revision),
        }))
    };
    let text = |name| {
        let mut values = headers.get_all(name).iter();
        let first = values.next().map(|value| value.to_str().unwrap_or(""));
        (first, values.next().is_some())
    };
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        ((None, _), (None, _)) => Ok(None),
        // A key that is not there has revision 0.
        ((None, _), (Some("*"), false)) => compare(Comparison::Equal, 0),
        ((Some("*"), false), (None, _)) => compare(Comparison::Greater, 0),
        ((Some(tag), false), (None, _)) => match parse_tag(tag) {
            Some(revision) => compare(Comparison::Equal, revision),
            None => Err(Problem::bad_request(
                "the header If-Match must be `*` or one key's ETag, such as \"12\"",
            )),
        },
        ((None, _), _) => Err(Problem::bad_request(
            "the header If-None-Match must be `*`: only when the key is not there",
        )),
        _ => Err(Problem::bad_request(
            "give at most one of If-Match and If-None-Match, once",
        )),
    }
}

fn parse_tag(tag: &str) -> Option<u64> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    let revision = digits.parse().ok()?;
    // Revision 0 is no key's; a sign is not part of a tag.
    (revision > 0 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(header::HeaderName, &'static str)]) -> Result<Option<Compare>, Problem> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_static(value));
        }
        condition(&map, &Bytes::from_static(b"a"))
    }

    #[test]
    fn conditions_are_read_strictly() {
        let compare = |comparison, revision| {
            Ok(Some(Compare {
                key: "a".into(),
                comparison,
                with: CompareWith::ModRevision(revision),
            }))
        };
        let (if_match, if_none) = (header::IF_MATCH, header::IF_NONE_MATCH);
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(
            of(&[(if_match.clone(), "\"7\"")]),
            compare(Comparison::Equal, 7)
        );
        assert_eq!(
            of(&[(if_match.clone(), "*")]),
            compare(Comparison::Greater, 0)
        );
        assert_eq!(of(&[(if_none.clone(), "*")]), compare(Comparison::Equal, 0));
        for bad in [
            "",
            "7",
            "\"0\"",
            "\"+7\"",
            "W/\"7\"",
            "\"1\", \"2\"",
            "\"\"",
        ] {
            assert!(of(&[(if_match.clone(), bad)]).is_err(), "{bad}");
        }
        assert!(of(&[(if_none.clone(), "\"7\"")]).is_err());
        assert!(of(&[(if_match.clone(), "*"), (if_none, "*")]).is_err());
        assert!(of(&[(if_match.clone(), "*"), (if_match, "\"1\"")]).is_err());
    }
}
