//! What a power cut decides: a fate for every sector, length and change of names that no sync has covered.

use crate::{
    draw::{Domain, Draws, unit},
    plan::PowerCutProfile,
};

/// How thoroughly one cut does its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    LoseAll,
    KeepAll,
    Each,
}

/// One power cut of one disk.
pub(super) struct Cut {
    profile: PowerCutProfile,
    mode: Mode,
    seed: u64,
    entity: u64,
}

/// What becomes of one sector that was not synced.
pub(super) enum SectorFate {
    /// The platter has what it had.
    Lost,
    /// The platter has the new bytes.
    Kept,
    /// The platter has so many of the new bytes, then old ones.
    TornAfter(usize),
    /// The platter has so many of the old bytes, then new ones.
    TornBefore(usize),
    /// Where old and new bytes differ, the platter has these.
    Garbage(Draws),
}

/// What power cuts did, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CutCounts {
    /// Sectors that were written after all.
    pub kept: u64,
    /// Sectors that were not.
    pub lost: u64,
    /// Sectors that were written in part.
    pub torn: u64,
    /// Sectors with garbage.
    pub garbled: u64,
    /// Files whose length is another than the process saw.
    pub lengths_lost: u64,
    /// Changes of names that were lost.
    pub names_lost: u64,
}

impl CutCounts {
    pub(super) fn add(&mut self, fate: &SectorFate) {
        match fate {
            SectorFate::Lost => self.lost += 1,
            SectorFate::Kept => self.kept += 1,
            SectorFate::TornAfter(_) | SectorFate::TornBefore(_) => self.torn += 1,
            SectorFate::Garbage(_) => self.garbled += 1,
        }
    }
}

/// What the streams of one cut are about: the upper bits of a draw's number.
#[derive(Clone, Copy)]
enum About {
    Mode = 0,
    Sector,
    Noise,
    Length,
    NameOrder,
    Name,
}

impl Cut {
    /// The `number`-th cut of the disk of `node`.
    pub(super) fn new(seed: u64, node: u32, number: u32, profile: &PowerCutProfile) -> Self {
        let mut cut = Cut {
            profile: profile.clone(),
            mode: Mode::Each,
            seed,
            entity: (u64::from(node) << 32) | u64::from(number),
        };
        let lot = unit(cut.bits(About::Mode, 0, 0));
        if lot < profile.lose_all {
            cut.mode = Mode::LoseAll;
        } else if lot < profile.lose_all + profile.keep_all {
            cut.mode = Mode::KeepAll;
        }
        cut
    }

    /// One word for one thing: what is drawn for one sector or name does not depend on the others.
    fn bits(&self, about: About, owner: u32, place: u64) -> u64 {
        self.draws(about, owner, place).nth(0)
    }

    fn draws(&self, about: About, owner: u32, place: u64) -> Draws {
        let stream = Draws::new(self.seed, Domain::PowerCut, self.entity);
        let owner = stream.nth(((about as u64) << 32) | u64::from(owner));
        Draws::new(owner, Domain::PowerCut, place)
    }

    pub(super) fn sector(&self, inode: u32, sector: u64) -> SectorFate {
        match self.mode {
            Mode::LoseAll => return SectorFate::Lost,
            Mode::KeepAll => return SectorFate::Kept,
            Mode::Each => {}
        }
        let profile = &self.profile;
        let bits = self.bits(About::Sector, inode, sector);
        let sum = profile.keep + profile.lose + profile.tear + profile.garbage;
        let mut lot = unit(bits) * sum;
        for (weight, fate) in [
            (profile.keep, SectorFate::Kept),
            (profile.lose, SectorFate::Lost),
        ] {
            if lot < weight {
                return fate;
            }
            lot -= weight;
        }
        let mut draws = self.draws(About::Noise, inode, sector);
        if lot < profile.tear {
            let bytes = draws.range(1, super::SECTOR as u64) as usize;
            return match draws.chance(0.7) {
                true => SectorFate::TornAfter(bytes),
                false => SectorFate::TornBefore(bytes),
            };
        }
        match profile.garbage > 0.0 {
            true => SectorFate::Garbage(draws),
            false => SectorFate::Lost,
        }
    }

    /// The length of a file that was `durable` when last synced and is `new` now, and meanwhile between `least` and
    /// `most`.
    pub(super) fn length(&self, inode: u32, durable: u64, new: u64, least: u64, most: u64) -> u64 {
        match self.mode {
            Mode::LoseAll => return durable,
            Mode::KeepAll => return new,
            Mode::Each if least == most => return new,
            Mode::Each => {}
        }
        let mut draws = self.draws(About::Length, inode, 0);
        if draws.chance(self.profile.keep_length) {
            return new;
        }
        match draws.chance(0.5) {
            true => durable,
            false => draws.range(least, most + 1),
        }
    }

    /// Which of `count` changes of a directory were written, in their order.
    pub(super) fn names(&self, directory: u32, count: usize) -> Vec<bool> {
        match self.mode {
            Mode::LoseAll => return vec![false; count],
            Mode::KeepAll => return vec![true; count],
            Mode::Each => {}
        }
        let keep =
            |place| unit(self.bits(About::Name, directory, place as u64)) < self.profile.keep_name;
        let in_order =
            unit(self.bits(About::NameOrder, directory, 0)) < self.profile.names_in_order;
        let mut intact = true;
        (0..count)
            .map(|place| {
                let kept = keep(place);
                intact &= kept;
                if in_order { intact } else { kept }
            })
            .collect()
    }
}
