use crate::{KeyValue, KvError, MAX_COMMAND_KEYS, MAX_DELETED_BYTES, MAX_OUTCOME_BYTES};
use bytes::Bytes;

/// What is left of the work that one command may make: the same on every replica, for the same command and store.
#[derive(Debug)]
pub struct Budget {
    keys: u64,
    outcome: u64,
    deleted: u64,
}

impl Budget {
    /// All that a command may have.
    pub fn of_command() -> Self {
        Budget {
            keys: MAX_COMMAND_KEYS,
            outcome: MAX_OUTCOME_BYTES,
            deleted: MAX_DELETED_BYTES,
        }
    }

    /// For a read outside of commands, which nobody else waits for.
    pub fn unlimited() -> Self {
        Budget {
            keys: u64::MAX,
            outcome: u64::MAX,
            deleted: u64::MAX,
        }
    }

    /// A key of a range is looked at.
    pub fn look(&mut self) -> Result<(), KvError> {
        self.keys = self.keys.checked_sub(1).ok_or(KvError::TooManyKeys)?;
        Ok(())
    }

    /// A pair becomes part of the outcome.
    pub fn tell(&mut self, pair: &KeyValue) -> Result<(), KvError> {
        let bytes = (pair.key.len() + pair.value.len()) as u64;
        let left = self.outcome.checked_sub(bytes);
        self.outcome = left.ok_or(KvError::OutcomeTooLarge)?;
        Ok(())
    }

    /// A key is deleted.
    pub fn delete(&mut self, key: &Bytes) -> Result<(), KvError> {
        let left = self.deleted.checked_sub(key.len() as u64);
        self.deleted = left.ok_or(KvError::DeletesTooMuch)?;
        Ok(())
    }
}
