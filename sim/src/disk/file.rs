//! The bytes of one file, twice: as the process sees them and as the platter has them.

use super::cut::{Cut, CutCounts, SectorFate};
use std::{io, sync::Arc};

/// Bytes that a disk writes at once.
pub const SECTOR: usize = 512;
/// Bytes that the page cache keeps together. Small, since logs are mostly appended to: a page that is full is shared with
/// the platter and never copied again.
const PAGE: usize = 512;
const SECTORS: usize = PAGE / SECTOR;
/// All sectors of a page, a bit each.
const ALL: u8 = u8::MAX >> (8 - SECTORS);
/// The longest file: 1 GiB.
pub const MAX_FILE: u64 = 1 << 30;

type Page = [u8; PAGE];
/// What a page that was never written reads as.
static ZEROS: Page = [0; PAGE];

/// One page in the cache and on the platter; absent: zeros. Both share their bytes while nothing is written.
#[derive(Clone, Debug, Default)]
struct Slot {
    cache: Option<Arc<Page>>,
    platter: Option<Arc<Page>>,
    /// Sectors of the cache that no completed sync has covered, a bit each.
    dirty: u8,
}

/// Whether a sector that is overwritten before its sync was written back meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteBack {
    /// Its former content is on the platter now.
    Happened,
    /// The platter has what it had.
    Not,
}

/// The bytes of one file.
///
/// Past `len` the cache holds zeros only. While no sync has failed, a sector that is not dirty is the same in the
/// cache and on the platter.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    slots: Vec<Slot>,
    len: u64,
    durable_len: u64,
    /// The least length since the last sync.
    least_len: u64,
    /// Pages with dirty sectors, in the order in which they became so.
    dirty: Vec<u32>,
    /// Whether a sync has failed: clean sectors may then differ from the platter's.
    deceived: bool,
}

fn page_mut(page: &mut Option<Arc<Page>>) -> &mut Page {
    Arc::make_mut(page.get_or_insert_with(|| Arc::new(ZEROS)))
}

fn page_ref(page: &Option<Arc<Page>>) -> &Page {
    match page {
        Some(page) => page,
        None => &ZEROS,
    }
}

/// The sectors that hold the bytes `from..to` of a page, a bit each.
fn sectors(from: usize, to: usize) -> u8 {
    debug_assert!(from < to && to <= PAGE);
    let (first, last) = (from / SECTOR, (to - 1) / SECTOR);
    ALL & (ALL << first) & (ALL >> (SECTORS - 1 - last))
}

fn pages(len: u64) -> usize {
    len.div_ceil(PAGE as u64) as usize
}

impl Slot {
    /// Copies these sectors from the cache to the platter.
    fn write_through(&mut self, sectors: u8) {
        if self.cache.is_none() && self.platter.is_none() {
            return;
        }
        let cache = page_ref(&self.cache);
        let platter = page_mut(&mut self.platter);
        let mut rest = sectors;
        while rest != 0 {
            let from = rest.trailing_zeros() as usize * SECTOR;
            platter[from..from + SECTOR].copy_from_slice(&cache[from..from + SECTOR]);
            rest &= rest - 1;
        }
    }

    /// Makes cache and platter one page.
    fn share(&mut self) {
        self.platter = self.cache.clone();
    }

    /// Sectors of the platter as a cut leaves them.
    fn cut(&mut self, page: usize, cut: &Cut, inode: u32, counts: &mut CutCounts) {
        let mut rest = self.dirty;
        while rest != 0 {
            let sector = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let at = sector * SECTOR..(sector + 1) * SECTOR;
            let new = &page_ref(&self.cache)[at.clone()];
            let fate = cut.sector(inode, (page * SECTORS + sector) as u64);
            counts.add(&fate);
            let fresh: &[u8] = match fate {
                SectorFate::Lost => continue,
                SectorFate::Kept => new,
                SectorFate::TornAfter(bytes) => &new[..bytes],
                SectorFate::TornBefore(bytes) => &new[bytes..],
                SectorFate::Garbage(mut noise) => {
                    // Only bytes that changed: a sync covered the others.
                    let platter = &mut page_mut(&mut self.platter)[at];
                    for (old, new) in platter.iter_mut().zip(new) {
                        let random = noise.bits() as u8;
                        if *old != *new {
                            *old = random;
                        }
                    }
                    continue;
                }
            };
            let from = match fate {
                SectorFate::TornBefore(bytes) => at.start + bytes,
                _ => at.start,
            };
            page_mut(&mut self.platter)[from..from + fresh.len()].copy_from_slice(fresh);
        }
    }
}

impl File {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Reads what there is at `offset`; the number of bytes read.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let available = self.len.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let mut done = 0;
        while done < available {
            let at = offset as usize + done;
            let within = at % PAGE;
            let count = (PAGE - within).min(available - done);
            let page = match self.slots.get(at / PAGE) {
                Some(slot) => page_ref(&slot.cache),
                None => &ZEROS,
            };
            buffer[done..done + count].copy_from_slice(&page[within..within + count]);
            done += count;
        }
        available
    }

    /// Writes all of `bytes`; `FileTooLarge` past [`MAX_FILE`]. A gap before `offset` reads as zeros.
    pub(super) fn write(
        &mut self,
        offset: u64,
        bytes: &[u8],
        write_back: WriteBack,
    ) -> io::Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        if end > MAX_FILE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if self.slots.len() < pages(end) {
            self.slots.resize_with(pages(end), Slot::default);
        }
        let (mut at, mut rest) = (offset as usize, bytes);
        while !rest.is_empty() {
            let (page, within) = (at / PAGE, at % PAGE);
            let count = (PAGE - within).min(rest.len());
            let touched = sectors(within, within + count);
            let slot = &mut self.slots[page];
            if write_back == WriteBack::Happened && slot.dirty & touched != 0 {
                slot.write_through(slot.dirty & touched);
            }
            match rest.first_chunk::<PAGE>() {
                Some(whole) if within == 0 => slot.cache = Some(Arc::new(*whole)),
                _ => {
                    page_mut(&mut slot.cache)[within..within + count]
                        .copy_from_slice(&rest[..count]);
                }
            }
            self.mark(page, touched);
            at += count;
            rest = &rest[count..];
        }
        self.len = self.len.max(end);
        Ok(())
    }

    fn mark(&mut self, page: usize, sectors: u8) {
        let slot = &mut self.slots[page];
        if slot.dirty == 0 {
            self.dirty.push(page as u32);
        }
        slot.dirty |= sectors;
    }

    /// Cuts or extends the file; `FileTooLarge` past [`MAX_FILE`].
    pub(super) fn set_len(&mut self, len: u64) -> io::Result<()> {
        if len > MAX_FILE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        // Everything past the new end becomes zeros, and dirty where it may not have been.
        let (first, within) = ((len / PAGE as u64) as usize, len as usize % PAGE);
        for page in first..self.slots.len() {
            let slot = &mut self.slots[page];
            if slot.cache.is_none() && slot.platter.is_none() {
                continue;
            }
            if page > first || within == 0 {
                slot.cache = None;
                self.mark(page, ALL);
            } else {
                if slot.cache.is_some() {
                    page_mut(&mut slot.cache)[within..].fill(0);
                }
                self.mark(page, sectors(within, PAGE));
            }
        }
        self.len = len;
        self.least_len = self.least_len.min(len);
        Ok(())
    }

    /// How many sectors a sync would write.
    pub(super) fn dirty_sectors(&self) -> u32 {
        let count = |page: &u32| self.slots[*page as usize].dirty.count_ones();
        self.dirty.iter().map(count).sum()
    }

    /// Bytes and length reach the platter.
    pub(super) fn sync(&mut self) {
        let whole = (self.len / PAGE as u64) as usize;
        for page in std::mem::take(&mut self.dirty) {
            let slot = &mut self.slots[page as usize];
            // A page below the end is seldom written again: both sides share it. The last one would be copied at
            // the next append, and only a few sectors of it are new.
            let complete = (page as usize) < whole && !self.deceived;
            match complete || slot.cache.is_none() && slot.dirty == ALL {
                true => slot.share(),
                false => slot.write_through(slot.dirty),
            }
            slot.dirty = 0;
        }
        self.slots.truncate(pages(self.len));
        self.durable_len = self.len;
        self.least_len = self.len;
        if self.deceived {
            // What was rewritten since the failed sync is on the platter after all.
            self.deceived = !self.is_durable();
        }
    }

    /// Whether the platter has what the cache has.
    pub(super) fn is_durable(&self) -> bool {
        let synced = self.dirty.is_empty() && self.len == self.durable_len;
        let same = |at: usize, slot: &Slot| {
            let end = (self.len as usize).saturating_sub(at * PAGE).min(PAGE);
            page_ref(&slot.cache)[..end] == page_ref(&slot.platter)[..end]
        };
        let mut slots = self.slots.iter().enumerate();
        synced && (!self.deceived || slots.all(|(at, slot)| same(at, slot)))
    }

    /// A sync that fails: of the dirty sectors some are written, some are dropped from the cache, and some look
    /// clean in the cache and are on no platter. No later sync will write them.
    pub(super) fn fail_sync(&mut self, mut draw: impl FnMut() -> u64) {
        for page in std::mem::take(&mut self.dirty) {
            let slot = &mut self.slots[page as usize];
            for sector in 0..SECTORS {
                if slot.dirty & (1 << sector) == 0 {
                    continue;
                }
                match draw() % 3 {
                    0 => slot.write_through(1 << sector),
                    1 => {
                        let at = sector * SECTOR..(sector + 1) * SECTOR;
                        let old = &page_ref(&slot.platter)[at.clone()];
                        page_mut(&mut slot.cache)[at].copy_from_slice(old);
                    }
                    _ => {}
                }
            }
            slot.dirty = 0;
        }
        self.deceived = true;
        self.clear_past_end();
    }

    /// Whether power can be cut without any effect on this file.
    pub(super) fn is_settled(&self) -> bool {
        self.dirty.is_empty() && self.len == self.durable_len && !self.deceived
    }

    /// Power is cut: the file is what the platter has.
    pub(super) fn cut(&mut self, cut: &Cut, inode: u32, counts: &mut CutCounts) {
        for page in std::mem::take(&mut self.dirty) {
            self.slots[page as usize].cut(page as usize, cut, inode, counts);
        }
        let least = self.least_len.min(self.durable_len);
        let most = self.len.max(self.durable_len);
        let len = cut.length(inode, self.durable_len, self.len, least, most);
        counts.lengths_lost += u64::from(len != self.len);
        self.len = len;
        self.durable_len = len;
        self.least_len = len;
        self.deceived = false;
        self.slots.truncate(pages(len));
        for slot in &mut self.slots {
            slot.cache = slot.platter.clone();
            slot.dirty = 0;
        }
        self.clear_past_end();
        if let (Some(slot), true) = (
            self.slots.get_mut(pages(len).max(1) - 1),
            !len.is_multiple_of(PAGE as u64),
        ) {
            slot.platter = slot.cache.clone();
        }
    }

    /// Restores the rule that the cache holds zeros past the end.
    fn clear_past_end(&mut self) {
        let (page, within) = ((self.len / PAGE as u64) as usize, self.len as usize % PAGE);
        for (at, slot) in self.slots.iter_mut().enumerate().skip(page) {
            let from = if at == page { within } else { 0 };
            if page_ref(&slot.cache)[from..] != ZEROS[from..] {
                page_mut(&mut slot.cache)[from..].fill(0);
            }
        }
    }

    /// Changes bits of one byte in both places, as rot does. False when the file ends before.
    pub(super) fn rot(&mut self, offset: u64, mask: u8) -> bool {
        if offset >= self.len {
            return false;
        }
        let (page, within) = (offset as usize / PAGE, offset as usize % PAGE);
        if self.slots.len() <= page {
            self.slots.resize_with(page + 1, Slot::default);
        }
        let slot = &mut self.slots[page];
        page_mut(&mut slot.cache)[within] ^= mask;
        page_mut(&mut slot.platter)[within] ^= mask;
        true
    }
}
