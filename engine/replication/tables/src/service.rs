use crate::{Change, Effect, SqlError};
use holdfast_sqlite::Schema;
use serde::{Serialize, de::DeserializeOwned};

/// A service whose state is tables.
///
/// It is a schema, a typed command, and what a command does to the tables. Everything that reaches `apply` is the same
/// on every replica, so what it does must be a pure function of tables and command: time and ids come from the
/// [`Change`], other randomness inside the command, and outside effects are rows of the outbox.
pub trait Service: Send + Sync + 'static {
    /// What clients ask.
    type Command: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// What they are told.
    type Outcome: Serialize + DeserializeOwned + Send + 'static;
    /// Why they are refused; nothing of a refused command has happened.
    type Refusal: Serialize + DeserializeOwned + Send + 'static;

    /// Its tables, and its name: for ever the same.
    const SCHEMA: Schema;

    /// Carries out a command.
    fn apply(
        &self,
        change: &mut Change<'_>,
        command: Self::Command,
    ) -> Result<Self::Outcome, Fault<Self::Refusal>>;

    /// Takes in the result of an outside effect. Called once for each row of the outbox, which is gone afterwards.
    fn performed(
        &self,
        _change: &mut Change<'_>,
        _effect: Effect,
        _result: &[u8],
    ) -> Result<(), SqlError> {
        unreachable!("a service that asks for outside effects takes in their results")
    }

    /// An outside effect was given up; its row is a dead letter now.
    fn buried(
        &self,
        _change: &mut Change<'_>,
        _effect: Effect,
        _reason: &str,
    ) -> Result<(), SqlError> {
        Ok(())
    }
}

/// Why a command was not carried out.
#[derive(Debug)]
pub enum Fault<R> {
    /// The service refuses.
    Refused(R),
    /// A statement failed: a mistake in the service, or a failure of the machine.
    Sql(SqlError),
}

impl<R> From<SqlError> for Fault<R> {
    fn from(error: SqlError) -> Self {
        Fault::Sql(error)
    }
}

/// A [`Service`] of any type.
pub(crate) trait AnyService: Send + Sync + 'static {
    fn schema(&self) -> Schema;
    /// The encoded outcome, or the encoded refusal. `None`: the command does not decode.
    fn apply(
        &self,
        change: &mut Change<'_>,
        command: &[u8],
    ) -> Result<Option<Vec<u8>>, Fault<Vec<u8>>>;
    fn performed(
        &self,
        change: &mut Change<'_>,
        effect: Effect,
        result: &[u8],
    ) -> Result<(), SqlError>;
    fn buried(&self, change: &mut Change<'_>, effect: Effect, reason: &str)
    -> Result<(), SqlError>;
}

impl<V: Service> AnyService for V {
    fn schema(&self) -> Schema {
        V::SCHEMA
    }

    fn apply(
        &self,
        change: &mut Change<'_>,
        command: &[u8],
    ) -> Result<Option<Vec<u8>>, Fault<Vec<u8>>> {
        let Ok(command) = postcard::from_bytes(command) else {
            return Ok(None);
        };
        match Service::apply(self, change, command) {
            Ok(outcome) => Ok(Some(encode(&outcome))),
            Err(Fault::Refused(refusal)) => Err(Fault::Refused(encode(&refusal))),
            Err(Fault::Sql(error)) => Err(Fault::Sql(error)),
        }
    }

    fn performed(
        &self,
        change: &mut Change<'_>,
        effect: Effect,
        result: &[u8],
    ) -> Result<(), SqlError> {
        Service::performed(self, change, effect, result)
    }

    fn buried(
        &self,
        change: &mut Change<'_>,
        effect: Effect,
        reason: &str,
    ) -> Result<(), SqlError> {
        Service::buried(self, change, effect, reason)
    }
}

/// Postcard, of a type that always encodes.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain data encodes")
}
