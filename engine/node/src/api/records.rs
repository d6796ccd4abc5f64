//! What the tables remember beside the services' own: the audit log, and dead letters.

use super::{
    Api, Call, Problem, ProblemKind, consistency, json_reply,
    links::{cut, paged},
    tables::caller,
};
use crate::{
    http::{
        Query, ReplyBody,
        page::{PageRequest, Position},
    },
    wire::{
        Value,
        links::{AuditEntry, AuditReply, DeadLetter, DeadLettersReply},
    },
};
use holdfast_links::time;
use holdfast_tables::{Caller, MAX_RECORDS, Reader, audit_entries, dead_letters};
use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

/// Where a page of the audit log begins.
#[derive(Debug, Serialize, Deserialize)]
struct AuditPosition {
    before: i64,
}

impl Position for AuditPosition {
    const LIST: u8 = 4;
}

/// Where a page of dead letters begins.
#[derive(Debug, Serialize, Deserialize)]
struct LettersPosition {
    before: i64,
}

impl Position for LettersPosition {
    const LIST: u8 = 5;
}

impl Api {
    /// Lists who changed what.
    pub(super) async fn list_audit(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let mut query = Query::parse(call.head.uri.query())?;
        let consistency = consistency(&mut query)?;
        let page = PageRequest::<AuditPosition>::take(&mut query, MAX_RECORDS - 1)?;
        query.finish()?;
        let (before, more) = (page.from.map(|from| from.before), page.limit + 1);
        let read = move |reader: Reader<'_>| audit_entries(reader, before, more);
        let mut found = self.read_tables(consistency, read).await?;
        let next = cut(&mut found, page.limit, |last| AuditPosition {
            before: last.id,
        });
        let entries = found.into_iter().map(|entry| AuditEntry {
            id: entry.id,
            index: entry.index,
            time: time::format(entry.time),
            actor: entry.actor,
            service: entry.service,
            operation: entry.operation,
            resource: entry.resource,
            outcome: entry.outcome,
        });
        let reply = AuditReply {
            entries: entries.collect(),
            next: next.clone(),
        };
        Ok(paged(&call, json_reply(&reply), next.as_deref()))
    }

    /// Lists what was given up.
    pub(super) async fn list_dead_letters(
        &self,
        call: Call<'_>,
    ) -> Result<Response<ReplyBody>, Problem> {
        let mut query = Query::parse(call.head.uri.query())?;
        let consistency = consistency(&mut query)?;
        let page = PageRequest::<LettersPosition>::take(&mut query, MAX_RECORDS - 1)?;
        query.finish()?;
        let (before, more) = (page.from.map(|from| from.before), page.limit + 1);
        let read = move |reader: Reader<'_>| dead_letters(reader, before, more);
        let mut found = self.read_tables(consistency, read).await?;
        let next = cut(&mut found, page.limit, |last| LettersPosition {
            before: last.id,
        });
        let letters = found.into_iter().map(|letter| DeadLetter {
            id: letter.id,
            service: letter.service,
            lane: letter.lane,
            attempts: letter.attempts,
            reason: letter.reason,
            died: time::format(letter.died),
            payload: Value(letter.payload),
        });
        let reply = DeadLettersReply {
            letters: letters.collect(),
            next: next.clone(),
        };
        Ok(paged(&call, json_reply(&reply), next.as_deref()))
    }

    /// Tries something again that was given up.
    pub(super) async fn revive_dead_letter(
        &self,
        call: Call<'_>,
    ) -> Result<Response<ReplyBody>, Problem> {
        Query::parse(call.head.uri.query())?.finish()?;
        let id = call.path.get("id");
        let id = std::str::from_utf8(&id).ok().and_then(|id| id.parse().ok());
        let id = id.ok_or_else(|| Problem::bad_request("a dead letter's id is a number"))?;
        // To revive it twice is to be told that it is not there.
        let caller = Caller {
            idempotency: None,
            ..caller(&call, b"")?
        };
        self.begin_proposal()?;
        let revived = self.tables.revive(id, Some(caller)).await;
        if !revived.map_err(|error| self.not_carried_out(error))? {
            let detail = format!("there is no dead letter {id}");
            return Err(Problem::new(ProblemKind::NotFound, detail));
        }
        let mut response = Response::new(ReplyBody::Full(None));
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }
}
