//! The register: the old value or the new one, never anything else.

use crate::disk::{CrashDisk, Cut, Rng};
use holdfast_log::{Mutant, REGISTER_MAX_BYTES, Register, RegisterError, RegisterOptions};
use std::path::Path;

fn path() -> &'static Path {
    Path::new("data/vote")
}

fn open(
    disk: &mut CrashDisk,
    mutant: Option<Mutant>,
) -> Result<(Register, Option<Vec<u8>>), RegisterError> {
    let options = RegisterOptions {
        identity: 77,
        mutant,
    };
    Register::open(disk, path(), options)
}

/// Term and vote.
fn value(number: u64) -> Vec<u8> {
    [number.to_le_bytes(), (number * 1000).to_le_bytes()].concat()
}

#[test]
fn values_come_back() {
    let mut disk = CrashDisk::default();
    assert_eq!(open(&mut disk, None).unwrap().1, None);
    disk.power_cut(Cut::LoseAll, &mut Rng(0));
    assert_eq!(
        open(&mut disk, None).unwrap().1,
        None,
        "created, never written"
    );
    disk.kill();
    let (mut register, _) = open(&mut disk, None).unwrap();
    let longest = vec![5; REGISTER_MAX_BYTES];
    for new in [&b""[..], b"a", &longest, b"bb"] {
        register.write(&mut disk, new).unwrap();
        disk.power_cut(Cut::LoseAll, &mut Rng(0));
        let found;
        (register, found) = open(&mut disk, None).unwrap();
        assert_eq!(found.as_deref(), Some(new));
    }
    let too_large = register.write(&mut disk, &[0; REGISTER_MAX_BYTES + 1]);
    assert!(matches!(too_large, Err(RegisterError::TooLarge { .. })));
    register.write(&mut disk, b"still usable").unwrap();
    register.close(&mut disk);
    assert_eq!(disk.open_files(), 0);
}

#[test]
fn only_the_staged_value_that_is_synced_counts() {
    let mut disk = CrashDisk::default();
    let (mut register, _) = open(&mut disk, None).unwrap();
    register.write(&mut disk, b"one").unwrap();
    register.stage(&mut disk, b"two").unwrap();
    register.stage(&mut disk, b"three").unwrap();
    let mut unsynced = disk.clone();
    unsynced.power_cut(Cut::LoseAll, &mut Rng(0));
    assert_eq!(open(&mut unsynced, None).unwrap().1.unwrap(), b"one");
    register.sync(&mut disk).unwrap();
    register.sync(&mut disk).unwrap();
    disk.power_cut(Cut::LoseAll, &mut Rng(0));
    assert_eq!(open(&mut disk, None).unwrap().1.unwrap(), b"three");
}

/// A crash in any change, with a write torn at any byte; then the same in the open that follows.
fn check_every_tear(mutant: Option<Mutant>) -> Result<(), String> {
    let mut disk = CrashDisk::default();
    let (mut register, _) = open(&mut disk, mutant).unwrap();
    register.write(&mut disk, &value(1)).unwrap();
    register.write(&mut disk, &value(2)).unwrap();
    let found = |disk: &mut CrashDisk, when: &str| {
        let (_, found) = open(disk, mutant).map_err(|error| format!("{when}: {error}"))?;
        match found {
            Some(found) if found == value(2) => Ok(2),
            Some(found) if found == value(3) => Ok(3),
            other => Err(format!("{when}: neither old nor new: {other:?}")),
        }
    };
    let slot = 4096 + 512;
    for step in 1..=4 {
        for tear in (0..=slot).filter(|tear| *tear < 600 || tear % 7 == 0) {
            let mut rng = Rng(tear as u64);
            let (mut disk, mut register) = (disk.clone(), register.clone());
            disk.dies_at = Some(disk.changes + step);
            disk.tear = tear;
            let acknowledged = register.write(&mut disk, &value(3)).is_ok();
            for cut in [Cut::Random, Cut::LoseAll] {
                let mut disk = disk.clone();
                let when = format!("step {step}, torn at {tear}, {cut:?}");
                disk.power_cut(cut, &mut rng);
                disk.dies_at = Some(disk.changes + 1 + rng.below(4));
                disk.tear = rng.below(slot as u64) as usize;
                let seen = open(&mut disk, mutant).ok();
                disk.power_cut(cut, &mut rng);
                let now = found(&mut disk, &when)?;
                if acknowledged && now != 3 {
                    return Err(format!("{when}: the new value was promised"));
                }
                let seen = seen.and_then(|(_, value)| value);
                if seen.is_some_and(|seen| seen != value(now)) {
                    return Err(format!("{when}: an open had shown another value"));
                }
                disk.kill();
                if found(&mut disk, &when)? != now {
                    return Err(format!("{when}: it changed without a write"));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn whatever_byte_a_write_is_torn_at_the_old_or_the_new_value_comes_back() {
    check_every_tear(None).unwrap();
}

#[test]
fn bug_r4_writing_in_halves_is_found() {
    let found = check_every_tear(Some(Mutant::SplitRegisterWrite)).unwrap_err();
    assert!(
        found.contains("neither old nor new") || found.contains("damaged"),
        "{found}"
    );
}

#[test]
fn bug_r4_mixes_term_and_vote() {
    let mut disk = CrashDisk::default();
    let mutant = Some(Mutant::SplitRegisterWrite);
    let (mut register, _) = open(&mut disk, mutant).unwrap();
    register.write(&mut disk, &value(1)).unwrap();
    register.stage(&mut disk, &value(2)).unwrap();
    disk.power_cut(Cut::LoseAll, &mut Rng(0));
    let (_, found) = open(&mut disk, mutant).unwrap();
    let mixed = [2u64.to_le_bytes(), 1000u64.to_le_bytes()].concat();
    assert_eq!(found, Some(mixed));
}

#[test]
fn creating_may_be_interrupted_anywhere() {
    for seed in 0..200 {
        let mut rng = Rng(seed);
        for step in 1.. {
            let mut disk = CrashDisk::default();
            disk.dies_at = Some(step);
            disk.tear = rng.below(20_000) as usize;
            let opened = open(&mut disk, None).is_ok();
            disk.power_cut(Cut::Random, &mut rng);
            assert_eq!(open(&mut disk, None).unwrap().1, None);
            if opened {
                break;
            }
        }
    }
}

#[test]
fn no_flipped_bit_makes_an_older_value_come_back() {
    let mut disk = CrashDisk::default();
    let (mut register, _) = open(&mut disk, None).unwrap();
    for number in 1..=3 {
        register.write(&mut disk, &value(number)).unwrap();
    }
    disk.kill();
    let len = disk.bytes(path()).len();
    for at in 0..len {
        let mut disk = disk.clone();
        disk.edit(path(), |bytes| bytes[at] ^= 1 << (at % 8));
        assert_eq!(
            open(&mut disk, None).unwrap().1,
            Some(value(3)),
            "byte {at}"
        );
        // The open has made it whole again.
        disk.power_cut(Cut::LoseAll, &mut Rng(0));
        assert_eq!(
            open(&mut disk, None).unwrap().1,
            Some(value(3)),
            "byte {at}"
        );
    }
    // Whole sectors, too.
    for sector in 0..len / 512 {
        let mut disk = disk.clone();
        disk.edit(path(), |bytes| bytes[sector * 512..][..512].fill(0xee));
        assert_eq!(open(&mut disk, None).unwrap().1, Some(value(3)));
    }
    // Everything: damaged, never empty. An empty file is no fresh one either: fresh ones are renamed into place whole.
    for edit in [
        |bytes: &mut Vec<u8>| bytes.fill(0),
        |bytes: &mut Vec<u8>| {
            bytes.clear();
        },
    ] {
        let mut disk = disk.clone();
        disk.edit(path(), edit);
        let damaged = open(&mut disk, None);
        assert!(matches!(damaged, Err(RegisterError::Damaged { .. })));
    }
    let options = RegisterOptions {
        identity: 78,
        mutant: None,
    };
    let other = Register::open(&mut disk, path(), options);
    assert!(matches!(other, Err(RegisterError::WrongIdentity { .. })));
}

#[test]
fn a_failed_sync_poisons_and_what_the_next_open_shows_is_durable() {
    let mut disk = CrashDisk::default();
    let (mut register, _) = open(&mut disk, None).unwrap();
    register.write(&mut disk, &value(1)).unwrap();
    disk.failing_sync = Some(0);
    assert!(matches!(
        register.write(&mut disk, &value(2)),
        Err(RegisterError::Io { .. })
    ));
    assert!(matches!(
        register.write(&mut disk, &value(3)),
        Err(RegisterError::Poisoned)
    ));
    disk.kill();
    // The page cache has it, and the platter does not.
    let (_, shown) = open(&mut disk, None).unwrap();
    assert_eq!(shown, Some(value(2)));
    disk.power_cut(Cut::LoseAll, &mut Rng(0));
    assert_eq!(open(&mut disk, None).unwrap().1, shown);
}
