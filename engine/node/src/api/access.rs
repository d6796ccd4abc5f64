//! API keys: who may come in, with what.

use super::{
    Api, Call, Problem, ProblemKind, consistency, decode, json_reply,
    links::{cut, note_replay, paged},
    tables::caller,
};
use crate::{
    auth::{ApiKey, Grant, Grants, KeyId, MalformedId, UnknownScope},
    http::{
        Query, ReplyBody,
        page::{PageRequest, Position},
    },
    wire::keys::{ApiKeyInfo, CreatedKey, KeysReply, NewKeyRequest},
};
use holdfast_keys::{Command, KeyRecord, Keys, NewKey, Outcome, Refusal, query};
use holdfast_links::time;
use holdfast_tables::Reader;
use http::{HeaderValue, Response, StatusCode, header};
use serde::{Deserialize, Serialize};

/// Where a page of keys begins.
#[derive(Debug, Serialize, Deserialize)]
struct KeysPosition {
    /// The number of the last key of the page before.
    before: u64,
}

impl Position for KeysPosition {
    const LIST: u8 = 6;
}

impl Api {
    /// Makes a key. It is drawn here; the log and the tables get its hash.
    pub(super) async fn create_api_key(
        &self,
        mut call: Call<'_>,
    ) -> Result<Response<ReplyBody>, Problem> {
        Query::parse(call.head.uri.query())?.finish()?;
        let body = self.json_body(&mut call).await?;
        let request: NewKeyRequest = decode(&body)?;
        let grants = granted(&call, &request.scopes)?;
        let expires_at = request.expires_at.as_deref().map(time::parse);
        let key = ApiKey::generate(&mut self.host.rng("api-key"));
        let command = Command::Create(NewKey {
            id: key.id(),
            hash: key.hash(),
            name: request.name,
            scopes: grants.iter().map(Grant::to_string).collect(),
            expires_at: expires_at
                .transpose()
                .map_err(|error| invalid("expires_at", &error.to_string()))?,
            created_by: call.actor.to_string(),
        });
        let carried = self
            .propose_to::<Keys>(caller(&call, &body)?, &command)
            .await?;
        let Outcome::Key(record) = carried.outcome.map_err(refusal)?;
        self.authenticator.forget(record.id);
        let is_ours = record.id == key.id();
        let created = CreatedKey {
            key: is_ours.then(|| key.reveal().to_owned()),
            // What is remembered of a request is its outcome, and that knows no secret.
            note: (!is_ours).then(|| {
                "made by an earlier request with this Idempotency-Key, whose answer held the key; it is not kept. If it \
                 is lost, revoke it and make another"
                    .to_owned()
            }),
            info: info(*record),
        };
        let mut response = json_reply(&created);
        *response.status_mut() = StatusCode::CREATED;
        let location = format!("/v1/keys/{}", created.info.id);
        let location = HeaderValue::from_str(&location).expect("a path of ASCII");
        let headers = response.headers_mut();
        headers.insert(header::LOCATION, location);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        note_replay(&mut response, carried.replayed);
        Ok(response)
    }

    /// Lists keys.
    pub(super) async fn list_api_keys(
        &self,
        call: Call<'_>,
    ) -> Result<Response<ReplyBody>, Problem> {
        let mut query = Query::parse(call.head.uri.query())?;
        let consistency = consistency(&mut query)?;
        let page = PageRequest::<KeysPosition>::take(&mut query, query::MAX_PAGE)?;
        query.finish()?;
        let (before, more) = (page.from.map(|from| from.before), page.limit + 1);
        let read = move |reader: Reader<'_>| query::list(reader, before, more);
        let mut found = self.read_tables(consistency, read).await?;
        let next = cut(&mut found, page.limit, |last| KeysPosition {
            before: last.number,
        });
        let reply = KeysReply {
            keys: found.into_iter().map(info).collect(),
            next: next.clone(),
        };
        Ok(paged(&call, json_reply(&reply), next.as_deref()))
    }

    /// Reads what is told of a key.
    pub(super) async fn get_api_key(&self, call: Call<'_>) -> Result<Response<ReplyBody>, Problem> {
        let id = key_id(&call)?;
        let mut query = Query::parse(call.head.uri.query())?;
        let consistency = consistency(&mut query)?;
        query.finish()?;
        let read = move |reader: Reader<'_>| query::find(reader, id);
        match self.read_tables(consistency, read).await? {
            Some(record) => Ok(json_reply(&info(record))),
            None => Err(refusal(Refusal::NotFound(id))),
        }
    }

    /// Takes a key back.
    pub(super) async fn revoke_api_key(
        &self,
        call: Call<'_>,
    ) -> Result<Response<ReplyBody>, Problem> {
        let id = key_id(&call)?;
        Query::parse(call.head.uri.query())?.finish()?;
        let caller = caller(&call, b"")?;
        let carried = self
            .propose_to::<Keys>(caller, &Command::Revoke { id })
            .await;
        // Also when it is not known whether it is: then a look tells.
        self.authenticator.forget(id);
        let carried = carried?;
        carried.outcome.map_err(refusal)?;
        let mut response = Response::new(ReplyBody::Full(None));
        *response.status_mut() = StatusCode::NO_CONTENT;
        note_replay(&mut response, carried.replayed);
        Ok(response)
    }
}

/// The key that a path names.
fn key_id(call: &Call<'_>) -> Result<KeyId, Problem> {
    let id = call.path.get("id");
    let parsed = std::str::from_utf8(&id).map_err(|_| MalformedId);
    parsed
        .and_then(str::parse)
        .map_err(|error: MalformedId| Problem::bad_request(error.to_string()))
}

/// What a request would have a key be used for, if who asks may do all of that.
fn granted(call: &Call<'_>, scopes: &[String]) -> Result<Grants, Problem> {
    let parsed: Result<Grants, UnknownScope> = scopes.iter().map(|scope| scope.parse()).collect();
    let grants = parsed.map_err(|error| invalid("scopes", &error.to_string()))?;
    let identity = call.identity.as_ref();
    let identity = identity.expect("the table says that this asks for a scope");
    grants
        .iter()
        .try_for_each(|grant| identity.check_grant(grant))?;
    Ok(grants)
}

fn info(record: KeyRecord) -> ApiKeyInfo {
    ApiKeyInfo {
        id: record.id.to_string(),
        name: record.name,
        scopes: record.scopes,
        created_at: time::format(record.created_at),
        created_by: record.created_by,
        expires_at: record.expires_at.map(time::format),
        revoked_at: record.revoked_at.map(time::format),
    }
}

fn invalid(field: &str, reason: &str) -> Problem {
    Problem::bad_request(format!("{field}: {reason}")).with("field", field)
}

/// What a client is told when the service refuses.
fn refusal(refusal: Refusal) -> Problem {
    let detail = refusal.to_string();
    match refusal {
        Refusal::NotFound(_) => Problem::new(
            ProblemKind::NotFound,
            format!("{detail} among those that the cluster keeps"),
        ),
        // By chance, which is next to none: asked again, another id is drawn.
        Refusal::Taken(_) => Problem::new(ProblemKind::Internal, detail),
        Refusal::Invalid { field, .. } => Problem::bad_request(detail).with("field", field),
        Refusal::TooMany(most) => {
            Problem::new(ProblemKind::QuotaReached, detail).with("limit", most)
        }
    }
}
