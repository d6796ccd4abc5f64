use crate::{
    Command, KeyId, MAX_KEYS, MAX_NAME_BYTES, MAX_SCOPE_BYTES, MAX_SCOPES, NewKey, Outcome,
    Refusal, query,
};
use holdfast_tables::{Change, Fault, Migration, Schema, Service, params};

/// Keys that are remembered after they were revoked or have expired; beyond that the oldest are forgotten. A key that
/// was forgotten is refused as one that never was.
pub const MAX_ENDED: u64 = 10_000;

/// The keys' table, and what commands do to it.
pub struct Keys;

impl Service for Keys {
    type Command = Command;
    type Outcome = Outcome;
    type Refusal = Refusal;

    const SCHEMA: Schema = Schema {
        name: "keys",
        migrations: &[Migration {
            number: 1,
            name: "keys",
            sql: include_str!("schema/001-keys.sql"),
        }],
    };

    fn apply(&self, change: &mut Change<'_>, command: Command) -> Result<Outcome, Fault<Refusal>> {
        match command {
            Command::Create(new) => create(change, &new),
            Command::Revoke { id } => revoke(change, id),
        }
    }
}

fn create(change: &mut Change<'_>, new: &NewKey) -> Result<Outcome, Fault<Refusal>> {
    let now = change.time().as_nanos();
    check(new, now)?;
    if query::find(**change, new.id)?.is_some() {
        return Err(Fault::Refused(Refusal::Taken(new.id)));
    }
    make_room(change, now)?;
    let scopes: Vec<&str> = new.scopes.iter().map(String::as_str).collect();
    change.insert(
        "INSERT INTO api_keys (id, name, hash, scopes, created_at, created_by, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            new.id.as_str(),
            new.name,
            new.hash.to_string(),
            scopes.join(" "),
            now.cast_signed(),
            new.created_by,
            new.expires_at.map(u64::cast_signed)
        ],
    )?;
    answer(change, new.id)
}

fn revoke(change: &mut Change<'_>, id: KeyId) -> Result<Outcome, Fault<Refusal>> {
    let now = change.time().as_nanos().cast_signed();
    // Once more is the same: what counts is when it first was.
    let found = change.execute(
        "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1",
        params![id.as_str(), now],
    )?;
    match found {
        0 => Err(Fault::Refused(Refusal::NotFound(id))),
        _ => answer(change, id),
    }
}

fn answer(change: &mut Change<'_>, id: KeyId) -> Result<Outcome, Fault<Refusal>> {
    change.concerns(format!("key {id}"));
    let record = query::find(**change, id)?.expect("it has just been written");
    Ok(Outcome::Key(Box::new(record)))
}

/// Refuses a key more than may be in use, and forgets what ended so long ago that the rows would be too many.
fn make_room(change: &Change<'_>, now: u64) -> Result<(), Fault<Refusal>> {
    let now = now.cast_signed();
    // Rows are counted page by page, those in use one by one: mostly that can be spared.
    let rows: i64 = change.one("SELECT count(*) FROM api_keys", [], |row| row.get(0))?;
    let rows = rows.cast_unsigned();
    if rows >= MAX_KEYS {
        let in_use: i64 = change.one(
            "SELECT count(*) FROM api_keys
             WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?1)",
            [now],
            |row| row.get(0),
        )?;
        if in_use.cast_unsigned() >= MAX_KEYS {
            return Err(Fault::Refused(Refusal::TooMany(MAX_KEYS)));
        }
    }
    if rows > MAX_ENDED {
        change.execute(
            "DELETE FROM api_keys WHERE number IN (
                SELECT number FROM api_keys
                WHERE revoked_at IS NOT NULL OR expires_at <= ?1
                ORDER BY number DESC LIMIT -1 OFFSET ?2)",
            params![now, MAX_ENDED.cast_signed()],
        )?;
    }
    Ok(())
}

fn invalid(field: &str, reason: impl Into<String>) -> Fault<Refusal> {
    Fault::Refused(Refusal::Invalid {
        field: field.to_owned(),
        reason: reason.into(),
    })
}

fn check(new: &NewKey, now: u64) -> Result<(), Fault<Refusal>> {
    if new.name.len() > MAX_NAME_BYTES || new.name.chars().any(char::is_control) {
        let reason = format!("must have at most {MAX_NAME_BYTES} bytes and no control characters");
        return Err(invalid("name", reason));
    }
    if new.scopes.is_empty() || new.scopes.len() > MAX_SCOPES {
        return Err(invalid(
            "scopes",
            format!("there must be 1 to {MAX_SCOPES} of them"),
        ));
    }
    if !new.scopes.iter().all(|scope| is_scope(scope)) {
        let reason = format!(
            "each has 1 to {MAX_SCOPE_BYTES} lower-case letters, digits, `:`, `*`, `_` and `-`"
        );
        return Err(invalid("scopes", reason));
    }
    match new.expires_at {
        Some(at) if at <= now => Err(invalid("expires_at", "is past")),
        // What SQLite's integers hold; the year 2262.
        Some(at) if i64::try_from(at).is_err() => Err(invalid("expires_at", "is too far away")),
        _ => Ok(()),
    }
}

fn is_scope(text: &str) -> bool {
    let is_letter =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b":*_-".contains(&byte);
    (1..=MAX_SCOPE_BYTES).contains(&text.len()) && text.bytes().all(is_letter)
}
