use super::{Api, Call, Problem, ProblemKind, consistency, convert, json_reply, session};
use crate::{
    http::{
        Query, ReplyBody,
        conditional::{Conditions, EntityTag, Tags, Verdict},
    },
    wire::{DeleteReply, GetReply, PutReply},
};
use bytes::Bytes;
use holdfast_kv::{
    Compare, CompareWith, Comparison, Delete, KeyRange, KvCommand, KvOutcome, Put, Step,
    StepOutcome, Txn,
};
use holdfast_replica::Session;
use http::{HeaderMap, Response, StatusCode, header, request::Parts};
use std::collections::BTreeSet;

impl Api {
    /// Reads a key.
    pub(super) async fn get(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let (key, head) = (self.key(&call)?, call.head);
        let mut query = Query::parse(head.uri.query())?;
        let consistency = consistency(&mut query)?;
        let revision = query.number("revision")?;
        query.finish()?;
        let conditions = Conditions::of(&head.headers)?;
        let store = self.read(consistency).await?;
        let found = match revision {
            None => store.get(&key),
            Some(revision) => store.get_at(&key, revision).map_err(convert::refusal)?,
        };
        let revision = store.revision();
        let tag = found
            .as_ref()
            .map(|pair| EntityTag::of_version(pair.mod_revision));
        let verdict = conditions.judge(tag.as_ref());
        if verdict == Verdict::Failed {
            return Err(precondition_failed().with("revision", revision));
        }
        let (Some(pair), Some(tag)) = (found, tag) else {
            return Err(
                Problem::new(ProblemKind::KeyNotFound, "there is no such key")
                    .with("revision", revision),
            );
        };
        let mut response = match verdict {
            Verdict::NotModified => {
                let mut response = Response::new(ReplyBody::Full(None));
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                response
            }
            _ => json_reply(&GetReply {
                pair: convert::pair(pair),
                revision,
            }),
        };
        response.headers_mut().insert(header::ETAG, tag.to_value());
        Ok(response)
    }

    /// Puts a key.
    pub(super) async fn put(&self, mut call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let (key, head) = (self.key(&call)?, call.head);
        let (return_previous, session) = command_options(head)?;
        let compare = conditions(&head.headers, &key)?;
        let value = self.body(&mut call).await?;
        let put = Put {
            key,
            value,
            return_previous,
        };
        let (revision, previous) = match compare.is_empty() {
            true => match self.carry_out(session, &KvCommand::Put(put)).await? {
                KvOutcome::Put { revision, previous } => (revision, previous),
                other => return Err(unexpected(&other)),
            },
            false => match self.when(session, compare, Step::Put(put)).await? {
                (revision, StepOutcome::Put { previous }) => (revision, previous),
                (_, other) => return Err(unexpected(&other)),
            },
        };
        let mut response = json_reply(&PutReply {
            revision,
            prev_kv: previous.map(convert::pair),
        });
        let tag = EntityTag::of_version(revision).to_value();
        response.headers_mut().insert(header::ETAG, tag);
        Ok(response)
    }

    /// Deletes a key.
    pub(super) async fn delete(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let (key, head) = (self.key(&call)?, call.head);
        let (return_previous, session) = command_options(head)?;
        let compare = conditions(&head.headers, &key)?;
        let delete = Delete {
            keys: KeyRange::key(key),
            return_previous,
        };
        let (revision, deleted, previous) = match compare.is_empty() {
            true => match self.carry_out(session, &KvCommand::Delete(delete)).await? {
                KvOutcome::Delete {
                    revision,
                    deleted,
                    previous,
                } => (revision, deleted, previous),
                other => return Err(unexpected(&other)),
            },
            false => match self.when(session, compare, Step::Delete(delete)).await? {
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

    /// Does `step` when all of `compare` hold: the store's revision then, and what came of it.
    async fn when(
        &self,
        session: Option<Session>,
        compare: Vec<Compare>,
        step: Step,
    ) -> Result<(u64, StepOutcome), Problem> {
        let command = KvCommand::Txn(Txn {
            compare,
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
            return Err(precondition_failed().with("revision", revision));
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

fn precondition_failed() -> Problem {
    Problem::new(
        ProblemKind::PreconditionFailed,
        "the key is not as If-Match or If-None-Match says; nothing was changed",
    )
}

/// What `If-Match` and `If-None-Match` ask of a key, as conditions of a transaction. A key's entity tag is the revision
/// of its last change, and one that is not there has revision 0.
fn conditions(headers: &HeaderMap, key: &Bytes) -> Result<Vec<Compare>, Problem> {
    let asked = Conditions::of(headers)?;
    let compare = |comparison, revision| Compare {
        key: key.clone(),
        comparison,
        with: CompareWith::ModRevision(revision),
    };
    // What is no tag of a key's is none that any key has.
    let revisions = |tags: &[EntityTag]| {
        let revisions = tags.iter().filter_map(EntityTag::version);
        revisions
            .filter(|revision| *revision > 0)
            .collect::<BTreeSet<u64>>()
    };
    let mut all = Vec::new();
    match &asked.if_match {
        None => {}
        Some(Tags::Any) => all.push(compare(Comparison::Greater, 0)),
        Some(Tags::These(tags)) => {
            let revisions = revisions(tags);
            match (revisions.first(), revisions.len()) {
                (Some(revision), 1) => all.push(compare(Comparison::Equal, *revision)),
                (None, _) => return Err(precondition_failed()),
                // All conditions of a transaction must hold; there is none for "one of these".
                _ => return Err(Problem::bad_request("If-Match takes one ETag of a key")),
            }
        }
    }
    match asked.if_none_match {
        None => {}
        Some(Tags::Any) => all.push(compare(Comparison::Equal, 0)),
        Some(Tags::These(mut tags)) => {
            // A weak tag means the same version (RFC 9110, §13.1.2).
            tags.iter_mut().for_each(|tag| tag.is_weak = false);
            let revisions = revisions(&tags).into_iter();
            all.extend(revisions.map(|revision| compare(Comparison::NotEqual, revision)));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[track_caller]
    fn check(
        if_match: Option<&'static str>,
        if_none: Option<&'static str>,
        expected: &[(Comparison, u64)],
    ) {
        let all = of(if_match, if_none).expect("well-formed");
        let compare = |(comparison, revision): &(Comparison, u64)| Compare {
            key: "a".into(),
            comparison: *comparison,
            with: CompareWith::ModRevision(*revision),
        };
        assert_eq!(all, expected.iter().map(compare).collect::<Vec<_>>());
    }

    fn of(
        if_match: Option<&'static str>,
        if_none: Option<&'static str>,
    ) -> Result<Vec<Compare>, Problem> {
        let mut map = HeaderMap::new();
        for (name, value) in [
            (header::IF_MATCH, if_match),
            (header::IF_NONE_MATCH, if_none),
        ] {
            map.extend(value.map(|value| (name, HeaderValue::from_static(value))));
        }
        conditions(&map, &Bytes::from_static(b"a"))
    }

    #[test]
    fn conditions_are_those_of_a_transaction() {
        use Comparison::{Equal, Greater, NotEqual};
        check(None, None, &[]);
        check(Some("\"7\""), None, &[(Equal, 7)]);
        check(Some("\"7\", \"other\", \"7\""), None, &[(Equal, 7)]);
        check(Some("*"), None, &[(Greater, 0)]);
        check(None, Some("*"), &[(Equal, 0)]);
        check(
            None,
            Some("\"7\", W/\"8\", \"other\""),
            &[(NotEqual, 7), (NotEqual, 8)],
        );
        check(None, Some("\"other\""), &[]);
        check(Some("*"), Some("\"7\""), &[(Greater, 0), (NotEqual, 7)]);
        for (bad, kind) in [
            ("", ProblemKind::BadRequest),
            ("7", ProblemKind::BadRequest),
            ("\"1\", \"2\"", ProblemKind::BadRequest),
            // No key has these.
            ("\"0\"", ProblemKind::PreconditionFailed),
            ("\"+7\"", ProblemKind::PreconditionFailed),
            ("W/\"7\"", ProblemKind::PreconditionFailed),
            ("\"\"", ProblemKind::PreconditionFailed),
        ] {
            assert_eq!(of(Some(bad), None).expect_err(bad).kind, kind, "{bad}");
        }
    }
}
