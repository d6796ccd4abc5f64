//! Random lives of a log, with power cuts, kills and failing syncs anywhere, against a model.

use crate::{
    Kept,
    disk::{CrashDisk, Cut, Rng},
    open_knowing, options, payload,
};
use holdfast_log::{Log, LogError, Mutant};

/// What the log should be.
#[derive(Clone, Debug)]
struct Model {
    first: u64,
    records: Vec<Kept>,
    /// Records from here on may be lost in a power cut.
    durable: usize,
}

impl Model {
    fn next(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    fn cut_suffix(&self, from: u64) -> Model {
        let keep = (from - self.first) as usize;
        Model {
            first: self.first,
            records: self.records[..keep].to_vec(),
            durable: keep,
        }
    }

    /// Whether this is what may be found after a crash.
    fn allows(&self, first: u64, records: &[Kept], may_drop_first: bool) -> bool {
        let mine: Vec<Kept> = if may_drop_first && first >= self.first {
            self.records
                .iter()
                .filter(|r| r.0 >= first)
                .cloned()
                .collect()
        } else if first == self.first {
            self.records.clone()
        } else {
            return false;
        };
        let durable = (self.first + self.durable as u64).saturating_sub(first) as usize;
        records.len() >= durable && mine.starts_with(records)
    }
}

struct Life {
    rng: Rng,
    disk: CrashDisk,
    log: Log,
    model: Model,
    /// What a change that was interrupted would have made of it.
    alternative: Option<Model>,
    /// A prefix may be gone.
    may_drop_first: bool,
    serial: u64,
    mutant: Option<Mutant>,
    segment_bytes: u64,
    crashes: u32,
    torn: u32,
}

impl Life {
    fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let mut rng = Rng(seed);
        let mut disk = CrashDisk::default();
        let segment_bytes = [600, 1500, 5000][rng.below(3) as usize];
        let (log, ..) = open_knowing(&mut disk, options(segment_bytes, mutant), 0).unwrap();
        Life {
            rng,
            disk,
            log,
            model: Model {
                first: 1,
                records: Vec::new(),
                durable: 0,
            },
            alternative: None,
            may_drop_first: false,
            serial: 0,
            mutant,
            segment_bytes,
            crashes: 0,
            torn: 0,
        }
    }

    fn run(&mut self, steps: u32) -> Result<(), String> {
        for step in 0..steps {
            if self.rng.one_in(12) {
                self.disk.dies_at = Some(self.disk.changes + 1 + self.rng.below(12));
                self.disk.tear = self.rng.below(1500) as usize;
            }
            if self.rng.one_in(40) {
                self.disk.failing_sync = Some(self.rng.below(4));
            }
            let result = self.step();
            let crash = match result {
                Ok(()) => {
                    self.alternative = None;
                    self.may_drop_first = false;
                    self.rng.one_in(30)
                }
                Err(LogError::Io { .. } | LogError::Manifest(_)) => {
                    let after = self.log.append(1, &[]);
                    if !matches!(after, Err(LogError::Poisoned)) {
                        return Err(format!("step {step}: not poisoned: {after:?}"));
                    }
                    true
                }
                Err(error) => return Err(format!("step {step}: {error}")),
            };
            if crash {
                self.crash()
                    .map_err(|what| format!("step {step}: {what}"))?;
            }
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), LogError> {
        let (disk, log) = (&mut self.disk, &mut self.log);
        match self.rng.below(20) {
            0..=9 => {
                self.serial += 1;
                let length = self.rng.below(500) as usize;
                let (kind, bytes) = (self.serial as u8, payload(self.serial, length));
                let position = log.append(kind, &[&bytes])?;
                assert_eq!(position, self.model.next());
                self.model.records.push((position, kind, bytes));
            }
            10..=11 => log.flush(disk)?,
            12..=15 => {
                let durable = log.sync(disk)?;
                assert_eq!(durable + 1, self.model.next());
                self.model.durable = self.model.records.len();
            }
            16 => {
                let span = self.model.records.len() as u64 + 1;
                let from = self.model.first + self.rng.below(span);
                self.alternative = Some(self.model.cut_suffix(from));
                let nothing = from == self.model.next();
                log.truncate_suffix(disk, from)?;
                if !nothing {
                    self.model = self.alternative.take().expect("set above");
                }
            }
            17 => {
                let span = self.model.records.len() as u64 + 1;
                let before = self.model.first + self.rng.below(span);
                self.may_drop_first = true;
                let durable = log.durable();
                log.truncate_prefix(disk, before)?;
                assert!(log.first() <= before.max(self.model.first));
                self.model.first = log.first();
                self.model.records.retain(|record| record.0 >= log.first());
                self.model.durable = (log.durable() + 1 - log.first()) as usize;
                assert!(log.durable() >= durable);
            }
            18 if self.rng.one_in(3) => {
                let next = 1 + self.rng.below(200);
                let empty = Model {
                    first: next,
                    records: Vec::new(),
                    durable: 0,
                };
                self.alternative = Some(empty.clone());
                log.reset(disk, next)?;
                self.model = empty;
            }
            _ => {
                let span = self.model.records.len() as u64 + 1;
                let from = self.model.first + self.rng.below(span);
                log.flush(disk)?;
                let mut read = Vec::new();
                log.read_from(disk, from, u64::MAX, &mut |record| {
                    read.push((record.position, record.kind, record.payload.to_vec()));
                })?;
                assert_eq!(
                    read,
                    self.model.records[(from - self.model.first) as usize..]
                );
            }
        }
        Ok(())
    }

    fn crash(&mut self) -> Result<(), String> {
        loop {
            self.crashes += 1;
            if self.rng.one_in(4) {
                self.disk.kill();
            } else {
                self.disk.power_cut(Cut::Random, &mut self.rng);
            }
            if self.rng.one_in(4) {
                self.disk.dies_at = Some(self.disk.changes + 1 + self.rng.below(15));
                self.disk.tear = self.rng.below(1500) as usize;
            }
            if self.rng.one_in(15) {
                self.disk.failing_sync = Some(self.rng.below(3));
            }
            // A promise that the log itself made, so it must never be reported as damage.
            let sure = self.model.durable > 0 && self.alternative.is_none() && self.rng.one_in(2);
            let known = self.model.first + self.model.durable as u64 - 1;
            let known = if sure { known } else { 0 };
            let options = options(self.segment_bytes, self.mutant);
            let opened = open_knowing(&mut self.disk, options, known);
            match opened {
                Ok((log, recovery, records)) => {
                    self.torn += u32::from(recovery.torn.is_some());
                    self.log = log;
                    return self.judge(records);
                }
                Err(
                    LogError::Io { .. }
                    | LogError::Manifest(holdfast_log::RegisterError::Io { .. }),
                ) => {}
                Err(error) => {
                    return Err(format!(
                        "{error}; known {known}, files {:?}, {:?} durable {}",
                        self.disk.files(),
                        self.model.records.iter().map(|r| r.0).collect::<Vec<_>>(),
                        self.model.durable
                    ));
                }
            }
        }
    }

    fn judge(&mut self, records: Vec<Kept>) -> Result<(), String> {
        let first = self.log.first();
        let allowed = self.model.allows(first, &records, self.may_drop_first)
            || self
                .alternative
                .as_ref()
                .is_some_and(|model| model.allows(first, &records, false));
        if !allowed {
            return Err(format!(
                "found {} records from {first} on; expected {} from {} on, {} of them durable",
                records.len(),
                self.model.records.len(),
                self.model.first,
                self.model.durable,
            ));
        }
        self.model = Model {
            first,
            durable: records.len(),
            records,
        };
        self.alternative = None;
        self.may_drop_first = false;
        Ok(())
    }
}

#[test]
fn random_lives_follow_the_model() {
    let (mut crashes, mut torn) = (0, 0);
    for seed in 0..1500 {
        let mut life = Life::new(seed, None);
        life.run(300)
            .unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        crashes += life.crashes;
        torn += life.torn;
    }
    assert!(crashes > 10_000 && torn > 1000, "{crashes} {torn}");
}

#[test]
fn the_model_finds_planted_bugs() {
    for mutant in [
        Mutant::TornTailIsFatal,
        Mutant::KeepTornTail,
        Mutant::ZeroRecordValid,
    ] {
        let found = (0..50).any(|seed| Life::new(seed, Some(mutant)).run(300).is_err());
        assert!(found, "{mutant:?}");
    }
}
