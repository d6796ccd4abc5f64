//! The log's own register: where the log begins, what must exist, and which change of its ends is under way.

use crate::{
    LogError, Register, RegisterOptions,
    format::{u32_at, u64_at},
};
use holdfast_host::Disk;
use std::path::Path;

const NAME: &str = "manifest";
const BYTES: usize = 40;

/// Everything from `from` on is to go, and a new segment begins there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub from: u64,
    /// Checksum of the record before `from`, zero when there is none.
    pub chain: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ManifestState {
    /// First position of the first segment; segments below it are left-overs.
    pub floor: u64,
    /// First position of the newest segment that is known to be durable.
    pub required: u64,
    /// Positions below it are durable.
    pub durable_next: u64,
    /// Begun and perhaps not finished: done again at the next open.
    pub cut: Option<Cut>,
}

impl ManifestState {
    fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&self.floor.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.required.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.durable_next.to_le_bytes());
        if let Some(cut) = self.cut {
            bytes[24..32].copy_from_slice(&cut.from.to_le_bytes());
            bytes[32..36].copy_from_slice(&cut.chain.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        if bytes.len() != BYTES {
            return Err(LogError::Inconsistent("of another length"));
        }
        // No log has a position zero, so zero says that there is no cut.
        let cut = Some(Cut {
            from: u64_at(bytes, 24),
            chain: u32_at(bytes, 32),
        })
        .filter(|cut| cut.from != 0);
        let state = ManifestState {
            floor: u64_at(bytes, 0),
            required: u64_at(bytes, 8),
            durable_next: u64_at(bytes, 16),
            cut,
        };
        let in_order = state.floor >= 1
            && state.required >= state.floor
            && state.durable_next >= state.required
            && cut.is_none_or(|cut| cut.from >= state.floor);
        if !in_order {
            return Err(LogError::Inconsistent("of impossible bounds"));
        }
        Ok(state)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    register: Register,
}

impl Manifest {
    /// Opens the manifest; `None` when none has been written yet.
    pub fn open(
        disk: &mut dyn Disk,
        directory: &Path,
        identity: u64,
    ) -> Result<(Self, Option<ManifestState>), LogError> {
        // The mutant of the register is about the hard state; here it would only hide which bug was found.
        let options = RegisterOptions {
            identity,
            mutant: None,
        };
        let (mut register, value) = Register::open(disk, &directory.join(NAME), options)?;
        match value.map(|bytes| ManifestState::decode(&bytes)).transpose() {
            Ok(state) => Ok((Manifest { register }, state)),
            Err(error) => {
                register.close(disk);
                Err(error)
            }
        }
    }

    /// Durable when it returns.
    pub fn write(&mut self, disk: &mut dyn Disk, state: &ManifestState) -> Result<(), LogError> {
        assert!(state.floor >= 1 && state.required >= state.floor);
        assert!(state.durable_next >= state.required);
        Ok(self.register.write(disk, &state.encode())?)
    }

    pub fn close(&mut self, disk: &mut dyn Disk) {
        self.register.close(disk);
    }
}
